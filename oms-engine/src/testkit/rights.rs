//! Sessions of a test with the rights that an application has in production.

use tokio_postgres::Client;

use super::TestkitError;
use super::admin::doing;
use crate::embedded::folder::random_hex;

/// What is in `public` is the test's own, and its application's as well.
const OWN_TABLES: &str = "
GRANT USAGE ON SCHEMA public TO {application};
GRANT ALL ON ALL TABLES IN SCHEMA public TO {application};
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {application};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {application};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {application};";

/// Makes the roles of a database; `client` is connected to it, as its owner. Gives the
/// application's password.
pub(super) async fn make_roles(client: &Client, database: &str) -> Result<String, TestkitError> {
    let failed = |source| doing("making the application's role", source);
    let password = random_hex().map_err(|error| TestkitError::Signal(error.to_string()))?;
    let [application, reader] = names_of(database);
    let owner: String =
        client.query_one("SELECT current_user::text", &[]).await.map_err(failed)?.get(0);
    let schema = crate::config::DEFAULT_SCHEMA;
    let grants = crate::store::roles_sql(schema, &owner, &application, &reader)
        .map_err(|error| TestkitError::Signal(error.to_string()))?;
    let own = OWN_TABLES.replace("{application}", &application);
    let sql = format!(
        "CREATE ROLE {application} LOGIN PASSWORD '{password}'; CREATE ROLE {reader}; {grants} {own}"
    );
    client.batch_execute(&sql).await.map_err(failed)?;
    Ok(password)
}

/// The application and the reader of a database. They stand for the whole server, so its name is
/// in theirs.
pub(super) fn names_of(database: &str) -> [String; 2] {
    [format!("{database}_application"), format!("{database}_reader")]
}

/// The same connection string with another user, for both forms that libpq has.
pub(super) fn with_user(url: &str, user: &str, password: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url} user={user} password={password}");
    };
    let host_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let (before, after) = rest.split_at(host_ends);
    let host = before.rsplit_once('@').map_or(before, |(_, host)| host);
    format!("{scheme}://{user}:{password}@{host}{after}")
}

#[cfg(test)]
mod tests {
    use super::with_user;

    #[test]
    fn another_user_of_the_same_database_keeps_all_else() {
        for (given, wanted) in [
            ("postgres://u:p@h:5432/d?sslmode=disable", "postgres://a:b@h:5432/d?sslmode=disable"),
            ("postgresql://oms@%2Ftmp%2Fx:5432/d", "postgresql://a:b@%2Ftmp%2Fx:5432/d"),
            ("postgres://h/d?x=u@v", "postgres://a:b@h/d?x=u@v"),
            ("host=h user=u dbname=d", "host=h user=u dbname=d user=a password=b"),
        ] {
            assert_eq!(with_user(given, "a", "b"), wanted);
        }
    }
}
