//! Mail to customers over SMTP, by `lettre`.
//!
//! What a mail says is yours: [`SmtpNotifier::with_mails`]. Each mail carries the message's id as its
//! `Message-ID`, so that one which is delivered again, since an answer was lost, is the same mail to those who
//! look.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use lettre::address::Address;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::{Category, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::error::Error;
use crate::ports::{Message, Notifier, PortError};

/// What a mail says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

type Mails = Box<dyn Fn(&Message) -> Mail + Send + Sync>;

/// How the mail server is reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SmtpOptions {
    /// `smtps://user:password@host` (TLS), or `smtp://user:password@host?tls=required` (STARTTLS); plain
    /// `smtp://` only to an address of the loopback interface. With a port where it is another.
    pub url: String,
    /// Whom mails are from, such as `Shop <orders@example.com>`.
    pub from: String,
    /// The name that this host gives itself; an address unless set.
    pub hello_name: Option<String>,
    /// How long each answer may take.
    pub timeout: Duration,
}

impl SmtpOptions {
    /// With ten seconds for each answer.
    #[must_use]
    pub fn new(url: impl Into<String>, from: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(10);
        Self { url: url.into(), from: from.into(), hello_name: None, timeout }
    }
}

/// Sends each message as a mail, on a connection of its own.
///
/// A server that refuses a mail or its recipient for good (55x) makes the message `UNDELIVERABLE`; whatever
/// else goes wrong, a refused login too, is tried again.
///
/// Give the sender a [`deadline`](crate::sender::SenderOptions::deadline) that leaves time for a mail.
pub struct SmtpNotifier {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    mails: Mails,
}

impl SmtpNotifier {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// [`Error::Smtp`] for options that cannot be.
    pub fn new(options: &SmtpOptions) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Smtp { reason };
        refuse_plain(&options.url).map_err(wrong)?;
        let from: Mailbox = options
            .from
            .parse()
            .map_err(|error| wrong(format!("from {:?}: {error}", options.from)))?;
        // Its text may have the URL's password in it.
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(&options.url)
            .map_err(|_| wrong("the URL of the mail server cannot be read".to_owned()))?
            .timeout(Some(options.timeout));
        let builder = match &options.hello_name {
            Some(name) => builder.hello_name(ClientId::Domain(name.clone())),
            None => builder,
        };
        Ok(Self { transport: builder.build(), from, mails: Box::new(plain) })
    }

    /// Has mails say what this makes of each message, whose `stage` tells what happened.
    #[must_use]
    pub fn with_mails(mut self, mails: impl Fn(&Message) -> Mail + Send + Sync + 'static) -> Self {
        self.mails = Box::new(mails);
        self
    }

    fn letter(&self, message: &Message) -> Result<lettre::Message, String> {
        let to: Address =
            message.recipient.parse().map_err(|error| format!("recipient: {error}"))?;
        let Mail { subject, text } = (self.mails)(message);
        let id = format!("<{}@{}>", in_id(&message.message_id), self.from.email.domain());
        lettre::Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(id))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())
    }
}

impl fmt::Debug for SmtpNotifier {
    /// The transport has a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpNotifier").field("from", &self.from).finish_non_exhaustive()
    }
}

#[async_trait]
impl Notifier for SmtpNotifier {
    async fn deliver(&self, message: &Message) -> Result<(), PortError> {
        let letter = self.letter(message).map_err(PortError::Invalid)?;
        let sent = self.transport.send(letter).await;
        sent.map(drop).map_err(|error| {
            let text = format!("mail server: {error}");
            let refused = error.status().is_some_and(|code| {
                code.severity == Severity::PermanentNegativeCompletion
                    && code.category == Category::MailSystem
            });
            if refused { PortError::Invalid(text) } else { PortError::Unavailable(text) }
        })
    }
}

/// The text that the stage wrote, under a line that names the order.
fn plain(message: &Message) -> Mail {
    Mail { subject: format!("Your order {}", message.order_id), text: message.body.clone() }
}

/// What an id may have in it, and the rest by its bytes, so that no two are the same.
fn in_id(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        other => format!("={other:02x}"),
    };
    text.bytes().map(byte).collect()
}

fn refuse_plain(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("smtp://") else {
        let known = url.starts_with("smtps://");
        return known.then_some(()).ok_or_else(|| "use smtp:// or smtps://".to_owned());
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.split('&').any(|part| part == "tls=required") {
        return Ok(());
    }
    let host = place.split('/').next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let here = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let reason = "mails and passwords would go in clear text: use smtps:// or ?tls=required";
    if here && query.is_empty() { Ok(()) } else { Err(reason.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_in_clear_text_but_on_this_host() {
        for url in [
            "smtps://ada:secret@mail.example.com",
            "smtp://ada:secret@mail.example.com:587?tls=required",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:2525",
        ] {
            assert!(SmtpNotifier::new(&SmtpOptions::new(url, "a@example.com")).is_ok(), "{url}");
        }
        for url in [
            "smtp://ada:secret@mail.example.com",
            "smtp://mail.example.com?tls=opportunistic",
            "smtp://127.0.0.1.example.com",
            "smtp://127.0.0.1@mail.example.com",
            "http://127.0.0.1",
            "",
        ] {
            let refused = SmtpNotifier::new(&SmtpOptions::new(url, "a@example.com")).unwrap_err();
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
        let from = SmtpNotifier::new(&SmtpOptions::new("smtp://127.0.0.1", "nobody")).unwrap_err();
        assert!(from.to_string().contains("nobody"), "{from}");
    }

    #[test]
    fn ids_of_different_messages_differ() {
        assert_eq!(in_id("o-1:PAID"), "o-1=3aPAID");
        assert_ne!(in_id("a=3a"), in_id("a:"));
    }
}
