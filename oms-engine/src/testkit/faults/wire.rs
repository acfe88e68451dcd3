//! Just enough of PostgreSQL's wire protocol to see commits go by. Pure: bytes in, decisions out.

use std::collections::HashMap;

/// Tables in which an engine keeps itself, whatever runs are there.
const HOUSEKEEPING: [&str; 3] = ["sessions", "holders", "worker_polls"];

/// Cuts a stream of bytes into messages.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// The first message of a client has no type.
    untyped: bool,
}

impl Frames {
    pub(super) fn of_client() -> Self {
        Self { bytes: Vec::new(), untyped: true }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message that is there as a whole, with all of its bytes.
    pub(super) fn next(&mut self) -> Option<Message> {
        let head = usize::from(!self.untyped);
        let length: [u8; 4] = self.bytes.get(head..head + 4)?.try_into().ok()?;
        let end = head + usize::try_from(u32::from_be_bytes(length)).ok()?;
        if self.bytes.len() < end {
            return None;
        }
        let rest = self.bytes.split_off(end);
        let bytes = std::mem::replace(&mut self.bytes, rest);
        Some(Message { bytes, head: if std::mem::take(&mut self.untyped) { 0 } else { 1 } })
    }
}

/// A message with its header.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    head: usize,
}

impl Message {
    /// None for the first of a client.
    pub(super) fn kind(&self) -> Option<u8> {
        (self.head == 1).then(|| self.bytes.first().copied()).flatten()
    }

    fn body(&self) -> &[u8] {
        self.bytes.get(self.head + 4..).unwrap_or_default()
    }

    /// The texts that the body begins with, each ended by a zero.
    fn texts(&self) -> impl Iterator<Item = String> {
        self.body().split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned())
    }
}

/// What a client has said so far on one connection.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// Whether each prepared statement writes.
    prepared: HashMap<String, bool>,
    in_transaction: bool,
    /// Whether the open transaction has written, or what is on its way outside of one.
    wrote: bool,
}

/// What a message of a client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Nothing: more belongs to it.
    Nothing,
    /// A question, to which the server says when it is ready again.
    Question,
    /// A question whose answer is the commit of something that was written.
    Commit,
}

impl Conversation {
    pub(super) fn hear(&mut self, message: &Message) -> Ends {
        match message.kind() {
            Some(b'P') => {
                let mut texts = message.texts();
                let name = texts.next().unwrap_or_default();
                let writes = texts.next().is_some_and(|sql| writes(&sql));
                self.prepared.insert(name, writes);
                Ends::Nothing
            }
            Some(b'B') => {
                let name = message.texts().nth(1).unwrap_or_default();
                self.wrote |= self.prepared.get(&name).copied().unwrap_or(false);
                Ends::Nothing
            }
            Some(b'S') if self.in_transaction => Ends::Question,
            Some(b'S') => self.committed(),
            Some(b'Q') => self.simple(&message.texts().next().unwrap_or_default()),
            _ => Ends::Nothing,
        }
    }

    fn simple(&mut self, sql: &str) -> Ends {
        let words: Vec<String> =
            sql.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_uppercase).collect();
        match words.first().map(String::as_str) {
            Some("BEGIN" | "START") => {
                (self.in_transaction, self.wrote) = (true, false);
                Ends::Question
            }
            Some("COMMIT" | "END") => self.committed(),
            Some("ROLLBACK") if words.get(1).is_none_or(|word| word != "TO") => {
                (self.in_transaction, self.wrote) = (false, false);
                Ends::Question
            }
            _ => {
                self.wrote |= writes(sql);
                if self.in_transaction { Ends::Question } else { self.committed() }
            }
        }
    }

    fn committed(&mut self) -> Ends {
        self.in_transaction = false;
        if std::mem::take(&mut self.wrote) { Ends::Commit } else { Ends::Question }
    }
}

/// Whether a statement writes to a table that is not an engine's own affair.
fn writes(sql: &str) -> bool {
    let code: String = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .fold(String::new(), |code, line| code + line + "\n");
    let words: Vec<&str> = code.split(|c: char| c.is_whitespace() || "(),;".contains(c)).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let is = |at: usize, text: &str| words.get(at).is_some_and(|w| w.eq_ignore_ascii_case(text));
    (0..words.len()).any(|at| {
        let target = if (is(at, "INSERT") && is(at + 1, "INTO"))
            || (is(at, "DELETE") && is(at + 1, "FROM"))
        {
            words.get(at + 2)
        } else if is(at, "UPDATE") {
            // A lock, or the second half of an INSERT.
            let no_statement = at > 0 && ["FOR", "KEY", "DO"].iter().any(|w| is(at - 1, w));
            if no_statement { None } else { words.get(at + 1) }
        } else {
            None
        };
        target.is_some_and(|table| {
            let table = table.rsplit('.').next().unwrap_or(table).trim_matches('"');
            !HOUSEKEEPING.contains(&table)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    fn startup() -> Vec<u8> {
        let body = b"\0\x03\0\0user\0ada\0\0";
        [&u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
    }

    /// What each message ends, however the bytes are cut.
    fn heard(messages: &[Vec<u8>], at_once: usize) -> Vec<Ends> {
        let (mut frames, mut said) = (Frames::of_client(), Conversation::default());
        let bytes = [startup(), messages.concat()].concat();
        let mut ends = Vec::new();
        for part in bytes.chunks(at_once) {
            frames.push(part);
            while let Some(message) = frames.next() {
                ends.push(said.hear(&message));
            }
        }
        ends.split_off(1)
    }

    #[test]
    fn a_statement_by_itself_commits_at_its_sync_and_one_in_a_transaction_at_its_commit() {
        let messages = [
            typed(b'P', b"s0\0INSERT INTO orders VALUES (1)\0\0\0"),
            typed(b'P', b"s1\0SELECT 1 FROM orders FOR UPDATE\0\0\0"),
            typed(b'S', b""),
            typed(b'B', b"\0s0\0rest"),
            typed(b'E', b"\0\0\0\0\0"),
            typed(b'S', b""),
            typed(b'B', b"\0s1\0rest"),
            typed(b'S', b""),
            typed(b'Q', b"BEGIN\0"),
            typed(b'B', b"\0s0\0rest"),
            typed(b'S', b""),
            typed(b'Q', b"COMMIT\0"),
            typed(b'Q', b"START TRANSACTION\0"),
            typed(b'B', b"\0s0\0rest"),
            typed(b'S', b""),
            typed(b'Q', b"ROLLBACK\0"),
            typed(b'Q', b"update orders set a = 1\0"),
        ];
        use Ends::{Commit as C, Nothing as N, Question as Q};
        let wanted = [N, N, Q, N, N, C, N, Q, Q, N, Q, C, Q, N, Q, Q, C];
        for at_once in [1, 2, 7, 1000] {
            assert_eq!(heard(&messages, at_once), wanted, "{at_once} bytes at once");
        }
    }

    #[test]
    fn what_writes_is_told_from_locks_comments_and_the_engine_s_own_affairs() {
        for sql in [
            "WITH a AS (DELETE FROM x RETURNING id) SELECT id FROM a",
            "-- a comment\nINSERT INTO \"s\".workflows SELECT 1",
            "update x set y = 1",
            "INSERT INTO s.sessions (a) VALUES (1); UPDATE s.open_tasks SET a = 1",
        ] {
            assert!(writes(sql), "{sql}");
        }
        for sql in [
            "SELECT 1 -- INSERT INTO x",
            "SELECT a FROM x FOR UPDATE OF x SKIP LOCKED",
            "SELECT a FROM x FOR NO KEY UPDATE",
            "UPDATE oms_engine.sessions SET a = 1",
            "INSERT INTO \"s\".\"worker_polls\" (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1",
            "SELECT pg_notify('a', 'b')",
        ] {
            assert!(!writes(sql), "{sql}");
        }
    }
}
