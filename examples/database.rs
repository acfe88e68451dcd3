//! Starts a PostgreSQL server whose data is kept, says where it is, and stops it on Ctrl-C.
//! Run it by `cargo run --example database`.

#![expect(clippy::print_stdout, reason = "says where the server is")]

use oms_engine::embedded::Postgres;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Postgres::builder().start().await?;
    println!(
        "PostgreSQL {} until Ctrl-C, its data and log in {}",
        server.version(),
        server.folder().display()
    );
    println!("export DATABASE_URL={}", server.url());
    println!("{}/psql '{}'", server.programs().display(), server.url());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
