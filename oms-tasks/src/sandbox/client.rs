//! The ports' side of the sandbox.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use super::ledger::Request;
use super::rules::Reply;
use crate::ports::{
    AuthoriseAnswer, BookingAnswer, BookingRequest, CancelAnswer, CancelRequest, CaptureAnswer,
    CaptureRequest, Carrier, ChargeAnswer, ChargeRequest, FindRequest, GatewayPayment,
    PartRefundAnswer, PartRefundRequest, PaymentGateway, PortError, RefundAnswer, RefundRequest,
    VoidAnswer, VoidRequest,
};

/// How long a call may take unless said otherwise.
const DEADLINE: Duration = Duration::from_secs(2);
/// Connections that are kept for later calls.
const IDLE_MAX: usize = 64;

/// A payment gateway and carrier that asks a sandbox. Calls run side by side, each on a
/// connection of its own.
#[derive(Debug)]
pub struct SandboxClient {
    address: SocketAddr,
    deadline: Duration,
    idle: Mutex<Vec<BufReader<TcpStream>>>,
}

impl SandboxClient {
    /// Makes a client; it connects when it is first used.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, deadline: DEADLINE, idle: Mutex::new(Vec::new()) }
    }

    /// Sets how long a call may take; 2 seconds unless set.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T, PortError> {
        let unavailable = |error: String| PortError::Unavailable(error);
        let mut line = serde_json::to_vec(&request).map_err(|e| unavailable(e.to_string()))?;
        line.push(b'\n');
        let reply = tokio::time::timeout(self.deadline, self.exchange(&line)).await;
        let reply = reply
            .map_err(|_| unavailable(format!("no answer within {:?}", self.deadline)))?
            .map_err(|error| unavailable(format!("{}: {error}", self.address)))?;
        serde_json::from_value(reply?).map_err(|e| unavailable(format!("bad answer: {e}")))
    }

    async fn exchange(&self, line: &[u8]) -> std::io::Result<Reply> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(kept) = kept
            && let Ok(reply) = self.exchange_on(kept, line).await
        {
            return Ok(reply);
        }
        // None was kept, or the sandbox was started again since: the key makes asking twice safe.
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        self.exchange_on(BufReader::new(stream), line).await
    }

    async fn exchange_on(
        &self,
        mut stream: BufReader<TcpStream>,
        line: &[u8],
    ) -> std::io::Result<Reply> {
        stream.write_all(line).await?;
        let mut answer = Vec::new();
        stream.read_until(b'\n', &mut answer).await?;
        if answer.last() != Some(&b'\n') {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let reply = serde_json::from_slice(&answer)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(stream);
        }
        Ok(reply)
    }
}

#[async_trait]
impl PaymentGateway for SandboxClient {
    async fn charge(&self, request: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
        self.ask(Request::Charge(request.clone())).await
    }

    async fn refund(&self, request: &RefundRequest) -> Result<RefundAnswer, PortError> {
        self.ask(Request::Refund(request.clone())).await
    }

    async fn authorise(&self, request: &ChargeRequest) -> Result<AuthoriseAnswer, PortError> {
        self.ask(Request::Authorise(request.clone())).await
    }

    async fn capture(&self, request: &CaptureRequest) -> Result<CaptureAnswer, PortError> {
        self.ask(Request::Capture(request.clone())).await
    }

    async fn void(&self, request: &VoidRequest) -> Result<VoidAnswer, PortError> {
        self.ask(Request::Void(request.clone())).await
    }

    async fn refund_part(
        &self,
        request: &PartRefundRequest,
    ) -> Result<PartRefundAnswer, PortError> {
        self.ask(Request::RefundPart(request.clone())).await
    }

    async fn find(&self, request: &FindRequest) -> Result<Option<GatewayPayment>, PortError> {
        self.ask(Request::Find(request.clone())).await
    }
}

#[async_trait]
impl Carrier for SandboxClient {
    async fn book(&self, request: &BookingRequest) -> Result<BookingAnswer, PortError> {
        self.ask(Request::Book(request.clone())).await
    }

    async fn cancel(&self, request: &CancelRequest) -> Result<CancelAnswer, PortError> {
        self.ask(Request::Cancel(request.clone())).await
    }
}
