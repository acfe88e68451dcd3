//! Mails, against a server that speaks SMTP over a socket, keeps what it is given, and does harm when it is
//! told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oms_tasks::notifiers::smtp::{Mail, SmtpNotifier, SmtpOptions};
use oms_tasks::ports::{Message, Notifier as _, PortError};
use oms_tasks::sender::{Sender, SenderOptions};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Placed, STEPS, World};

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    None,
    /// An answer in place of the one to this command.
    Says(&'static str, &'static str),
    /// The connection ends when the mail is there, which is not kept.
    DropsMail,
    /// The mail is kept, and the connection ends before the answer.
    DropsAnswer,
    /// Nothing is said at all.
    Silent,
}

#[derive(Default)]
struct Kept {
    harms: VecDeque<Harm>,
    mails: Vec<String>,
    connections: usize,
}

struct Server {
    url: String,
    kept: Arc<Mutex<Kept>>,
}

impl Server {
    async fn start(harms: &[Harm]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept {
            harms: harms.iter().copied().collect(),
            ..Kept::default()
        }));
        let shared = kept.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let harm = {
                    let mut kept = shared.lock().unwrap();
                    kept.connections += 1;
                    kept.harms.pop_front().unwrap_or(Harm::None)
                };
                tokio::spawn(serve(stream, harm, shared.clone()));
            }
        });
        Self { url, kept }
    }

    fn notifier(&self) -> SmtpNotifier {
        let mut options = SmtpOptions::new(&self.url, "Shop <orders@shop.example>");
        options.hello_name = Some("shop.example".to_owned());
        options.timeout = Duration::from_millis(500);
        SmtpNotifier::new(&options).unwrap()
    }

    fn mails(&self) -> Vec<String> {
        self.kept.lock().unwrap().mails.clone()
    }
}

/// Speaks with one client. An error is a client that has gone.
async fn serve(stream: TcpStream, harm: Harm, kept: Arc<Mutex<Kept>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if harm == Harm::Silent {
        tokio::time::sleep(Duration::from_secs(5)).await;
        return Ok(());
    }
    stream.write_all(b"220 mail.example ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let command = line.split([' ', '\r', ':']).next().unwrap().to_ascii_uppercase();
        let answer = match (&*command, harm) {
            (said, Harm::Says(at, answer)) if said == at => answer.to_owned(),
            ("EHLO", _) => {
                assert!(line.contains("shop.example"), "{line}");
                "250-mail.example\r\n250 8BITMIME".to_owned()
            }
            ("DATA", _) => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail).await? == 0 {
                        return Ok(());
                    }
                }
                if harm == Harm::DropsMail {
                    return Ok(());
                }
                kept.lock().unwrap().mails.push(mail);
                if harm == Harm::DropsAnswer {
                    return Ok(());
                }
                "250 kept".to_owned()
            }
            ("MAIL" | "RCPT" | "RSET" | "NOOP", _) => "250 ok".to_owned(),
            ("QUIT", _) => "221 bye".to_owned(),
            _ => "502 what?".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

fn message() -> Message {
    Message {
        message_id: "o:PAID".to_owned(),
        order_id: "o".to_owned(),
        stage: "PAID".to_owned(),
        recipient: "ada@example.com".to_owned(),
        body: "Your payment has arrived.\n.\nGr\u{fc}\u{df}e".to_owned(),
    }
}

#[tokio::test]
async fn a_mail_says_what_the_template_makes_of_it_under_the_messages_id() {
    let server = Server::start(&[]).await;
    server.notifier().deliver(&message()).await.unwrap();
    let shouting = server.notifier().with_mails(|message| Mail {
        subject: format!("{} \u{2713}\r\nBcc: eve@example.com", message.stage),
        text: message.body.to_uppercase(),
    });
    shouting.deliver(&message()).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    for line in [
        "From: Shop <orders@shop.example>",
        "To: ada@example.com",
        "Subject: Your order o",
        "Message-ID: <o=3aPAID@shop.example>",
    ] {
        assert!(mails[0].lines().any(|found| found.trim_end() == line), "{line}: {}", mails[0]);
    }
    assert!(mails[1].contains("YOUR PAYMENT"), "{}", mails[1]);
    // A template cannot write headers.
    assert!(!mails[1].lines().any(|line| line.starts_with("Bcc")), "{}", mails[1]);
}

#[tokio::test]
async fn a_refusal_is_final_and_whatever_else_goes_wrong_is_tried_again() {
    let final_ones = [
        Harm::Says("RCPT", "550 no such mailbox"),
        Harm::Says("MAIL", "553 not from you"),
        Harm::Says("RCPT", "552 too much"),
    ];
    let others = [
        Harm::Says("MAIL", "451 later"),
        Harm::Says("RCPT", "450 grey"),
        Harm::Says("EHLO", "421 busy"),
        Harm::Says("MAIL", "530 log in first"),
        Harm::Says("DATA", "421 going down"),
        Harm::DropsMail,
        Harm::DropsAnswer,
        Harm::Silent,
    ];
    for harm in final_ones.into_iter().chain(others) {
        let server = Server::start(&[harm]).await;
        let notifier = server.notifier();
        let error = notifier.deliver(&message()).await.unwrap_err();
        let is_final = matches!(error, PortError::Invalid(_));
        assert_eq!(is_final, final_ones.contains(&harm), "{harm:?}: {error}");
        notifier.deliver(&message()).await.unwrap();
        let kept = if harm == Harm::DropsAnswer { 2 } else { 1 };
        assert_eq!(server.mails().len(), kept, "{harm:?}");
    }
    let nowhere = Message { recipient: "no address".to_owned(), ..message() };
    let server = Server::start(&[]).await;
    let error = server.notifier().deliver(&nowhere).await.unwrap_err();
    assert!(matches!(error, PortError::Invalid(_)), "{error}");
    assert_eq!(server.kept.lock().unwrap().connections, 0);
}

#[tokio::test]
async fn the_outbox_gets_through_a_bad_day_in_the_order_of_the_stages() {
    let harms = [
        Harm::Says("MAIL", "451 later"),
        Harm::DropsMail,
        Harm::None,
        Harm::Says("EHLO", "421 busy"),
        Harm::DropsAnswer,
    ];
    let server = Server::start(&harms).await;
    let world = World::new().await;
    world.take(&Placed::new("o"), STEPS.len()).await;
    let mut options = SenderOptions::default();
    options.retry_min = Duration::ZERO;
    let sender = Sender::new(world.tasks.pool.clone(), Arc::new(server.notifier()), options);
    while sender.send_pending().await.unwrap() > 0 {}
    let summary = world.summary("o").await.unwrap();
    assert!(summary.notifications.iter().all(|note| note.status == "SENT"));
    let ids: Vec<String> = server
        .mails()
        .iter()
        .filter_map(|mail| mail.lines().find_map(|line| line.strip_prefix("Message-ID: ")))
        .map(|id| id.trim().to_owned())
        .collect();
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    // The one whose answer was lost came again, as the same mail.
    assert_eq!((ids.len(), once.len()), (6, 5), "{ids:?}");
}
