//! Notifiers: for programs without mail, for tests, and with the feature `smtp` mail.

#[cfg(feature = "smtp")]
pub mod smtp;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::error::Error;
use crate::ports::{Message, Notifier, PortError};

/// Writes each message to the log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        let Message { message_id, recipient, body, .. } = message;
        tracing::info!(%message_id, %recipient, "{body}");
        Ok(())
    }
}

/// Keeps the messages in memory.
#[derive(Debug, Default)]
pub struct MemoryNotifier {
    messages: Mutex<Vec<Message>>,
}

impl MemoryNotifier {
    /// All messages so far, also those that came twice.
    #[must_use]
    pub fn messages(&self) -> Vec<Message> {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notifier for MemoryNotifier {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        self.locked().push(message.clone());
        Ok(())
    }
}

/// Appends each message to a file as a line of JSON, handed to the operating system before the
/// delivery counts. Several processes may share the file.
#[derive(Debug)]
pub struct FileNotifier {
    file: Mutex<File>,
}

impl FileNotifier {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file
            .map_err(|source| Error::Io { doing: format!("opening {}", path.display()), source })?;
        Ok(Self { file: Mutex::new(file) })
    }
}

#[async_trait]
impl Notifier for FileNotifier {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        let unavailable = |error: String| PortError::Unavailable(error);
        let mut line = serde_json::to_vec(message).map_err(|e| unavailable(e.to_string()))?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(|e| unavailable(e.to_string()))
    }
}
