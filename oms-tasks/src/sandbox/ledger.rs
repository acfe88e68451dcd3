//! The ledger: every call and every effect, one JSON object per line.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::ports::{
    BookingRequest, CancelRequest, CaptureRequest, ChargeRequest, FindRequest, PartRefundRequest,
    RefundRequest, VoidRequest,
};

/// A request to the sandbox, as it stands on a line of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// To the gateway.
    Charge(ChargeRequest),
    /// To the gateway.
    Refund(RefundRequest),
    /// To the gateway.
    Authorise(ChargeRequest),
    /// To the gateway.
    Capture(CaptureRequest),
    /// To the gateway.
    Void(VoidRequest),
    /// To the gateway.
    RefundPart(PartRefundRequest),
    /// To the gateway.
    Find(FindRequest),
    /// To the carrier.
    Book(BookingRequest),
    /// To the carrier.
    Cancel(CancelRequest),
}

/// A line of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are those of the requests and answers")]
pub enum Entry {
    /// A request came, whatever became of it.
    Call { request: Request },
    /// Money was taken.
    Charged {
        key: String,
        order_id: String,
        amount_minor: i64,
        currency: String,
        charge_id: String,
    },
    /// Money was not taken.
    Declined { key: String, order_id: String, code: String },
    /// All of a charge was given back.
    Refunded {
        key: String,
        charge_key: String,
        order_id: String,
        amount_minor: i64,
        currency: String,
        refund_id: String,
        charge_id: String,
    },
    /// Money was set aside.
    Authorised {
        key: String,
        order_id: String,
        amount_minor: i64,
        currency: String,
        payment_id: String,
    },
    /// What was set aside was taken.
    Captured { key: String, payment_key: String, order_id: String, amount_minor: i64 },
    /// What was set aside was given up.
    Voided { key: String, payment_key: String, order_id: String },
    /// Some of what was captured was given back.
    PartRefunded {
        key: String,
        payment_key: String,
        order_id: String,
        amount_minor: i64,
        refund_id: String,
    },
    /// The key of a charge or a booking that had not come was closed.
    KeyClosed { key: String, order_id: String },
    /// A delivery was booked.
    Booked { key: String, order_id: String, tracking_number: String, delivery_date: NaiveDate },
    /// A delivery was not booked.
    Refused { key: String, order_id: String, code: String },
    /// A booking was called off.
    Cancelled { key: String, booking_key: String, order_id: String, tracking_number: String },
}

/// What the ledger says of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderTotals {
    /// Requests to charge, answered or not.
    pub charge_calls: u32,
    /// Times that money was taken.
    pub charges: u32,
    /// Minor units taken.
    pub charged_minor: i64,
    /// Times that money was given back.
    pub refunds: u32,
    /// Minor units given back.
    pub refunded_minor: i64,
    /// Requests to authorise, answered or not.
    pub authorise_calls: u32,
    /// Times that money was set aside.
    pub authorisations: u32,
    /// Minor units set aside.
    pub authorised_minor: i64,
    /// Times that what was set aside was given up.
    pub voids: u32,
    /// Requests to capture, answered or not.
    pub capture_calls: u32,
    /// Times that what was set aside was taken.
    pub captures: u32,
    /// Minor units taken of what was set aside.
    pub captured_minor: i64,
    /// Times that some of it was given back.
    pub part_refunds: u32,
    /// Minor units given back of it.
    pub part_refunded_minor: i64,
    /// Questions what became of a payment.
    pub finds: u32,
    /// Requests to book a delivery, answered or not.
    pub booking_calls: u32,
    /// Deliveries booked.
    pub bookings: u32,
    /// Deliveries called off.
    pub cancellations: u32,
    /// Keys closed before a charge or booking came under them.
    pub closed_keys: u32,
}

/// A ledger, read for checking.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    entries: Vec<Entry>,
}

impl Ledger {
    /// Reads the ledger of a sandbox, which may be running. A last line without its end is left
    /// out: it was never answered.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Json`] with the line.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| io("reading", path, source))?;
        let (entries, _) = parse(path, &bytes)?;
        Ok(Self { entries })
    }

    /// All lines.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What it says of one order.
    #[must_use]
    pub fn order(&self, order_id: &str) -> OrderTotals {
        self.by_order().remove(order_id).unwrap_or_default()
    }

    /// What it says of every order.
    #[must_use]
    pub fn by_order(&self) -> BTreeMap<String, OrderTotals> {
        let mut orders: BTreeMap<String, OrderTotals> = BTreeMap::new();
        for entry in &self.entries {
            orders.entry(entry.order_id().to_owned()).or_default().add(entry);
        }
        orders
    }
}

impl OrderTotals {
    fn add(&mut self, entry: &Entry) {
        match entry {
            Entry::Call { request: Request::Charge(_) } => self.charge_calls += 1,
            Entry::Call { request: Request::Authorise(_) } => self.authorise_calls += 1,
            Entry::Call { request: Request::Capture(_) } => self.capture_calls += 1,
            Entry::Call { request: Request::Find(_) } => self.finds += 1,
            Entry::Call { request: Request::Book(_) } => self.booking_calls += 1,
            Entry::Call { .. } | Entry::Declined { .. } | Entry::Refused { .. } => {}
            Entry::Charged { amount_minor, .. } => {
                self.charges += 1;
                self.charged_minor += amount_minor;
            }
            Entry::Refunded { amount_minor, .. } => {
                self.refunds += 1;
                self.refunded_minor += amount_minor;
            }
            Entry::Authorised { amount_minor, .. } => {
                self.authorisations += 1;
                self.authorised_minor += amount_minor;
            }
            Entry::Captured { amount_minor, .. } => {
                self.captures += 1;
                self.captured_minor += amount_minor;
            }
            Entry::Voided { .. } => self.voids += 1,
            Entry::PartRefunded { amount_minor, .. } => {
                self.part_refunds += 1;
                self.part_refunded_minor += amount_minor;
            }
            Entry::KeyClosed { .. } => self.closed_keys += 1,
            Entry::Booked { .. } => self.bookings += 1,
            Entry::Cancelled { .. } => self.cancellations += 1,
        }
    }
}

impl Request {
    /// The key that it comes under; a question has none, and gives that of what it asks about.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Charge(ChargeRequest { key, .. })
            | Self::Authorise(ChargeRequest { key, .. })
            | Self::Refund(RefundRequest { key, .. })
            | Self::Capture(CaptureRequest { key, .. })
            | Self::Void(VoidRequest { key, .. })
            | Self::RefundPart(PartRefundRequest { key, .. })
            | Self::Find(FindRequest { payment_key: key, .. })
            | Self::Book(BookingRequest { key, .. })
            | Self::Cancel(CancelRequest { key, .. }) => key,
        }
    }

    fn order_id(&self) -> &str {
        match self {
            Self::Charge(ChargeRequest { order_id, .. })
            | Self::Authorise(ChargeRequest { order_id, .. })
            | Self::Refund(RefundRequest { order_id, .. })
            | Self::Capture(CaptureRequest { order_id, .. })
            | Self::Void(VoidRequest { order_id, .. })
            | Self::RefundPart(PartRefundRequest { order_id, .. })
            | Self::Find(FindRequest { order_id, .. })
            | Self::Book(BookingRequest { order_id, .. })
            | Self::Cancel(CancelRequest { order_id, .. }) => order_id,
        }
    }
}

impl Entry {
    fn order_id(&self) -> &str {
        match self {
            Self::Call { request } => request.order_id(),
            Self::Charged { order_id, .. }
            | Self::Declined { order_id, .. }
            | Self::Refunded { order_id, .. }
            | Self::Authorised { order_id, .. }
            | Self::Captured { order_id, .. }
            | Self::Voided { order_id, .. }
            | Self::PartRefunded { order_id, .. }
            | Self::KeyClosed { order_id, .. }
            | Self::Booked { order_id, .. }
            | Self::Refused { order_id, .. }
            | Self::Cancelled { order_id, .. } => order_id,
        }
    }
}

/// A ledger, open for appending by one process.
#[derive(Debug)]
pub(super) struct LedgerFile {
    file: File,
    path: PathBuf,
    /// Bytes of whole lines.
    len: u64,
}

impl LedgerFile {
    /// Opens or makes it and reads what it has. A torn last line is cut off.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Entry>), Error> {
        let failed = |doing: &str| {
            let doing = doing.to_owned();
            move |source| io(&doing, path, source)
        };
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .map_err(failed("opening"))?;
        file.try_lock().map_err(|error| {
            let source = match error {
                TryLockError::Error(source) => source,
                TryLockError::WouldBlock => std::io::ErrorKind::WouldBlock.into(),
            };
            io("locking, since another sandbox may use it,", path, source)
        })?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).map_err(failed("reading"))?;
        file.read_to_end(&mut bytes).map_err(failed("reading"))?;
        let (entries, len) = parse(path, &bytes)?;
        file.set_len(len).map_err(failed("cutting"))?;
        Ok((Self { file, path: path.to_owned(), len }, entries))
    }

    /// Appends lines with one write, so that they are there whatever becomes of this process.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<(), Error> {
        let mut bytes = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut bytes, entry).map_err(|source| Error::Json {
                place: format!("writing to {}", self.path.display()),
                source,
            })?;
            bytes.push(b'\n');
        }
        let written = self.file.write_all(&bytes);
        if let Err(source) = written {
            // Half a line would spoil the next one.
            self.file.set_len(self.len).map_err(|source| io("cutting", &self.path, source))?;
            return Err(io("writing", &self.path, source));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }
}

/// The entries of the whole lines, and how long these are.
fn parse(path: &Path, bytes: &[u8]) -> Result<(Vec<Entry>, u64), Error> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = bytes.split_at(whole).0.split(|byte| *byte == b'\n');
    let entries = lines
        .enumerate()
        .filter(|(_, line)| !line.is_empty())
        .map(|(i, line)| {
            serde_json::from_slice(line).map_err(|source| Error::Json {
                place: format!("{} line {}", path.display(), i + 1),
                source,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok((entries, whole as u64))
}

fn io(doing: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { doing: format!("{doing} {}", path.display()), source }
}
