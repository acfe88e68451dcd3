//! `oms key`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use oms_engine::{ApiRole, Tables};
use serde_json::json;

use super::Ended;
use super::database::{DatabaseOptions, block_on};
use super::failure::{Exit, Failure};
use super::out::{Out, Table};
use crate::access::{NewSecret, hash_of};

const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Args, Debug)]
pub(super) struct KeyOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes a key and prints its secret, which is shown this once and kept nowhere. From the first
    /// key on servers on this database answer nobody without one.
    Create {
        /// Whose it is.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long)]
        role: Role,
    },
    /// Lists keys.
    List,
    /// Makes keys good for nothing, and the tokens that were given for them; servers know of it
    /// after 5 seconds at most.
    Revoke {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Look at everything but the server itself.
    Read,
    /// Also start workflows, poll and update tasks.
    Work,
    /// Everything.
    Admin,
}

pub(super) fn run(options: &KeyOptions, out: Out) -> Ended {
    block_on(async {
        let (_database, url) = options.database.open(out).await?;
        let tables = Tables::new(&url, &options.database.schema, DEADLINE)?;
        match &options.action {
            Action::Create { name, role } => create(&tables, name, *role, out).await,
            Action::List => list(&tables, out).await,
            Action::Revoke { ids } => revoke(&tables, ids, out).await,
        }
    })
}

async fn create(tables: &Tables, name: &str, role: Role, out: Out) -> Ended {
    let failed = |error| Failure::failed("no key", error);
    let (id, secret) = (NewSecret::draw_id().map_err(failed)?, NewSecret::draw().map_err(failed)?);
    let role = match role {
        Role::Read => ApiRole::Read,
        Role::Work => ApiRole::Work,
        Role::Admin => ApiRole::Admin,
    };
    tables.create_api_key(&id, name, role, &hash_of(&secret.0)).await?;
    let shown = json!({
        "keyId": id, "keySecret": secret.0, "name": name, "role": role.as_str(),
    });
    out.answer(&shown, |out| {
        out.field("key id", &id);
        out.field("key secret", &secret.0);
        out.field("role", role.as_str());
    });
    Ok(Exit::Done)
}

async fn list(tables: &Tables, out: Out) -> Ended {
    let keys = tables.api_keys().await?;
    let shown = keys.iter().map(|key| {
        json!({
            "keyId": key.id,
            "name": key.name,
            "role": key.role.as_str(),
            "createdAt": key.created_at.timestamp_millis(),
            "revokedAt": key.revoked_at.map(|time| time.timestamp_millis()),
        })
    });
    let shown: Vec<_> = shown.collect();
    out.answer(&json!(shown), |out| {
        let mut table = Table::new(&["KEY", "NAME", "ROLE", "CREATED", "REVOKED"]);
        for key in keys {
            let revoked = key.revoked_at.map(|time| time.to_rfc3339()).unwrap_or_default();
            let role = key.role.as_str().to_owned();
            table.row([key.id, key.name, role, key.created_at.to_rfc3339(), revoked]);
        }
        out.table(&table);
    });
    Ok(Exit::Done)
}

async fn revoke(tables: &Tables, ids: &[String], out: Out) -> Ended {
    for id in ids {
        if !tables.revoke_api_key(id).await? {
            return Err(Failure::new(Exit::NotFound, format!("key {id} does not exist")));
        }
        if !out.json {
            out.line(&format!("{id}\trevoked"));
        }
    }
    out.answer(&json!({ "revoked": ids }), |_| {});
    Ok(Exit::Done)
}
