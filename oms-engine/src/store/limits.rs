//! Limits of task definitions: claims that stay within them, whoever else claims.

use deadpool_postgres::ClientWrapper;

use super::rows::{Token, get};
use super::{Executor, Store};
use crate::definition::Limits;
use crate::error::Error;

/// A queue with a limit to claim from.
#[derive(Clone, Debug)]
pub(crate) struct LimitedClaim {
    pub(crate) queue: String,
    /// The task definition's name.
    pub(crate) name: String,
    pub(crate) most: i32,
}

/// What a claim from queues with limits gave.
#[derive(Debug, Default)]
pub(crate) struct LimitedClaimed {
    pub(crate) tokens: Vec<Token>,
    /// The names whose lock was had. Of the others nothing was claimed.
    pub(crate) rooms: Vec<Room>,
}

/// How a limit stands after a claim.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) name: String,
    /// How many more there is room for; none for any number.
    pub(crate) left: Option<i64>,
    /// In how many milliseconds the rate allows the next, where that is what is used up.
    pub(crate) opens_ms: Option<i64>,
}

/// The limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LimitsInForce {
    /// Another number means that they are others.
    pub(crate) version: i64,
    /// Names of task definitions, and how many of their tasks may run at once where that is
    /// limited.
    pub(crate) names: Vec<(String, Option<i32>)>,
}

impl Store {
    /// Waits for the claims that are made under these limits: one that commits later would leave
    /// permits behind that nobody takes away.
    pub(crate) async fn lock_limits(
        &self,
        db: &impl Executor,
        names: &[&str],
    ) -> Result<(), Error> {
        self.rows(db, &self.sql.lock_limits, &[&names], "setting limits").await?;
        Ok(())
    }

    /// Sets the limits of a task definition; they are locked. Whether they are others than before.
    pub(crate) async fn put_limit(
        &self,
        db: &impl Executor,
        name: &str,
        limits: Limits,
    ) -> Result<bool, Error> {
        let Limits { concurrent, rate } = limits;
        let (rate, rate_ms) = rate.unzip();
        let sql = &self.sql.put_limit;
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&name, &concurrent, &rate, &rate_ms];
        Ok(!self.rows(db, sql, &params, "setting a limit").await?.is_empty())
    }

    pub(crate) async fn list_limits(&self, db: &impl Executor) -> Result<LimitsInForce, Error> {
        let rows = self.rows(db, &self.sql.list_limits, &[], "reading limits").await?;
        let mut limits = LimitsInForce::default();
        for row in &rows {
            limits.version = get(row, 0)?;
            if let Some(name) = get(row, 1)? {
                limits.names.push((name, get(row, 2)?));
            }
        }
        Ok(limits)
    }

    /// The engines that may still go by limits older than these.
    pub(crate) async fn limits_unheard(
        &self,
        db: &impl Executor,
        version: i64,
    ) -> Result<Vec<String>, Error> {
        let sql = &self.sql.limits_unheard;
        let rows = self.rows(db, sql, &[&version], "asking who knows the limits").await?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    /// Claims within limits, in a transaction of its own: the locks, then what is counted under
    /// them.
    pub(crate) async fn claim_limited(
        &self,
        client: &mut ClientWrapper,
        claims: &[LimitedClaim],
        holder: i64,
    ) -> Result<LimitedClaimed, Error> {
        let mut names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let tx = self.begin(client).await?;
        let rows = self.rows(&tx, &self.sql.try_limits, &[&names], "locking limits").await?;
        let (mut locked, mut uncounted) = (Vec::new(), Vec::new());
        for row in &rows {
            let name: String = get(row, 0)?;
            if get(row, 1)? {
                uncounted.push(name.clone());
            }
            locked.push(name);
        }
        let mut done = LimitedClaimed::default();
        if !uncounted.is_empty() {
            self.rows(&tx, &self.sql.count_leases, &[&uncounted], "counting leases").await?;
        }
        let claims: Vec<_> = claims.iter().filter(|claim| locked.contains(&claim.name)).collect();
        if !claims.is_empty() {
            let queues: Vec<&str> = claims.iter().map(|claim| claim.queue.as_str()).collect();
            let names: Vec<&str> = claims.iter().map(|claim| claim.name.as_str()).collect();
            let most: Vec<i32> = claims.iter().map(|claim| claim.most).collect();
            let sql = &self.sql.claim_limited;
            let doing = "claiming tasks with a limit";
            let rows = self.rows(&tx, sql, &[&holder, &queues, &names, &most], doing).await?;
            for row in &rows {
                if get::<i8>(row, 0)? == b'c'.cast_signed() {
                    done.tokens.push(Token::read_claimed(row, 1)?);
                } else {
                    let (name, left, opens_ms) = (get(row, 3)?, get(row, 19)?, get(row, 20)?);
                    done.rooms.push(Room { name, left, opens_ms });
                }
            }
        }
        self.commit(tx).await?;
        Ok(done)
    }
}
