//! What docs/starting-from-sql.md shows for sqlx; prints the run's id.

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = sqlx::PgPool::connect(&std::env::var("DATABASE_URL")?).await?;
    let mut tx = pool.begin().await?;
    sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(7).execute(&mut *tx).await?;
    let run: uuid::Uuid = sqlx::query_scalar("SELECT oms_engine.start_workflow($1, $2, idempotency_key => $3)")
        .bind("place_order")
        .bind(serde_json::json!({ "order": 7 }))
        .bind("order-7")
        .fetch_one(&mut *tx)
        .await?;
    tx.commit().await?;
    println!("{run}");
    Ok(())
}
