//! What each role is allowed.

use super::migrate::quote_schema;
use crate::error::Error;

fn quoted(what: &str, role: &str) -> Result<String, Error> {
    if role.is_empty() || role.len() > 63 || role.contains('\0') {
        return Err(Error::Config(format!("{what} role {role:?}: use 1 to 63 bytes without NUL")));
    }
    Ok(format!("\"{}\"", role.replace('"', "\"\"")))
}

/// The SQL that grants three roles, which must exist, what they need of the engine's tables in
/// `schema`: the owner, who has made them and migrates them; the application, as which engines and
/// servers run; a reader, who looks and sees all but the keys of clients. Run it as the owner or a
/// superuser, once: tables of later migrations are included.
///
/// # Errors
/// [`Error::Config`] when a name is refused.
///
/// ```
/// let sql = oms_engine::roles_sql("oms_engine", "oms_owner", "oms_app", "oms_reader")?;
/// assert!(sql.contains(r#"GRANT USAGE ON SCHEMA "oms_engine" TO "oms_app""#));
/// # Ok::<(), oms_engine::Error>(())
/// ```
pub fn roles_sql(
    schema: &str,
    owner: &str,
    application: &str,
    reader: &str,
) -> Result<String, Error> {
    let schema = quote_schema(schema)?;
    let owner = quoted("owner", owner)?;
    let application = quoted("application", application)?;
    let reader = quoted("reader", reader)?;
    Ok(include_str!("roles.sql")
        .replace("{schema}", &schema)
        .replace("{owner}", &owner)
        .replace("{application}", &application)
        .replace("{reader}", &reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles_are_quoted_or_refused() {
        let sql = roles_sql("oms_engine", "o", "a\"; DROP SCHEMA x; --", "r").unwrap();
        assert!(sql.contains("TO \"a\"\"; DROP SCHEMA x; --\""), "{sql}");
        for role in ["", "a\0b", &"r".repeat(64)] {
            assert!(matches!(roles_sql("oms_engine", "o", role, "r"), Err(Error::Config(_))));
        }
        assert!(roles_sql("a b", "o", "a", "r").is_err());
    }
}
