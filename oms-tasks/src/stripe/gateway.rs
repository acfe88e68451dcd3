//! The port's calls, in Stripe's.

use async_trait::async_trait;

use super::http::Refusal;
use super::wire::{Intent, KEY, Refund, from_wire, to_wire};
use super::{Named, Stripe, UNEXPECTED, of_charge, rank};
use crate::ports::{
    AuthoriseAnswer, CaptureAnswer, CaptureRequest, ChargeAnswer, ChargeRequest, FindRequest,
    GatewayPayment, GatewayRefund, PartRefundAnswer, PartRefundRequest, PaymentGateway,
    PaymentState, PortError, RefundAnswer, RefundRequest, VoidAnswer, VoidRequest,
};

#[async_trait]
impl PaymentGateway for Stripe {
    async fn charge(&self, ask: &ChargeRequest) -> Result<ChargeAnswer, PortError> {
        let confirmed = self.authorise_intent(of_charge(ask, "automatic"), ask).await?;
        Ok(match confirmed {
            Ok(intent) => ChargeAnswer::Charged { charge_id: intent.id },
            Err(code) => ChargeAnswer::Declined { code },
        })
    }

    async fn refund(&self, ask: &RefundRequest) -> Result<RefundAnswer, PortError> {
        let named = Named {
            key: &ask.charge_key,
            payment_id: None,
            order_id: &ask.order_id,
            amount_minor: ask.amount_minor,
            currency: &ask.currency,
            capture_method: "automatic",
        };
        let Some(intent) = self.close(named, &ask.key).await? else {
            return Ok(RefundAnswer::NothingCharged);
        };
        let refunds = self.refunds(&intent.id).await.map_err(Refusal::into_port)?;
        let made: Vec<&Refund> = refunds.iter().filter(|refund| refund.is_made()).collect();
        let left = intent.amount_received - made.iter().map(|refund| refund.amount).sum::<i64>();
        if left <= 0
            && let Some(refund) = made.first()
        {
            return Ok(RefundAnswer::Refunded {
                refund_id: refund.id.clone(),
                charge_id: intent.id,
            });
        }
        match self.give_back(&intent.id, left, &ask.order_id, &ask.key).await? {
            PartRefundAnswer::Refunded { refund_id } => {
                Ok(RefundAnswer::Refunded { refund_id, charge_id: intent.id })
            }
            PartRefundAnswer::Refused { code } => Err(PortError::Invalid(code)),
        }
    }

    async fn authorise(&self, ask: &ChargeRequest) -> Result<AuthoriseAnswer, PortError> {
        let confirmed = self.authorise_intent(of_charge(ask, "manual"), ask).await?;
        Ok(match confirmed {
            Ok(intent) => AuthoriseAnswer::Authorised { payment_id: intent.id },
            Err(code) => AuthoriseAnswer::Declined { code },
        })
    }

    async fn capture(&self, ask: &CaptureRequest) -> Result<CaptureAnswer, PortError> {
        let path = format!("/v1/payment_intents/{}/capture", ask.payment_id);
        let amount = to_wire(ask.amount_minor, &ask.currency)?;
        let form = vec![("amount_to_capture", amount.to_string())];
        let captured = |intent: &Intent| CaptureAnswer::Captured {
            captured_minor: from_wire(intent.amount_received, &ask.currency),
        };
        match self.http.post::<Intent>(&path, &form, &ask.key).await {
            Ok(intent) if intent.status == "succeeded" => Ok(captured(&intent)),
            Ok(intent) => {
                Err(PortError::Unavailable(format!("{} is {}", intent.id, intent.status)))
            }
            Err(Refusal::Said { fault, .. }) if fault.is(UNEXPECTED) => {
                let intent = self.intent(&ask.payment_id).await?;
                if intent.status == "succeeded" {
                    return Ok(captured(&intent));
                }
                let code = intent.cancellation_reason.unwrap_or(intent.status);
                Ok(CaptureAnswer::Refused { code })
            }
            Err(Refusal::Said { fault, .. }) => {
                let code = fault.code.clone().unwrap_or_else(|| fault.text());
                Ok(CaptureAnswer::Refused { code })
            }
            Err(Refusal::Port(error)) => Err(error),
        }
    }

    async fn void(&self, ask: &VoidRequest) -> Result<VoidAnswer, PortError> {
        let named = Named {
            key: &ask.payment_key,
            payment_id: ask.payment_id.as_deref(),
            order_id: &ask.order_id,
            amount_minor: ask.amount_minor,
            currency: &ask.currency,
            capture_method: "manual",
        };
        Ok(match self.close(named, &ask.key).await? {
            Some(intent) => VoidAnswer::Captured {
                captured_minor: from_wire(intent.amount_received, &ask.currency),
                payment_id: intent.id,
            },
            None => VoidAnswer::Voided,
        })
    }

    async fn refund_part(&self, ask: &PartRefundRequest) -> Result<PartRefundAnswer, PortError> {
        let amount = to_wire(ask.amount_minor, &ask.currency)?;
        self.give_back(&ask.payment_id, amount, &ask.order_id, &ask.key).await
    }

    /// Where Stripe knows of no payment under the key, it makes one that nobody confirmed, which is
    /// [`PaymentState::Open`].
    async fn find(&self, ask: &FindRequest) -> Result<Option<GatewayPayment>, PortError> {
        let named = Named {
            key: &ask.payment_key,
            payment_id: ask.payment_id.as_deref(),
            order_id: &ask.order_id,
            amount_minor: ask.amount_minor,
            currency: &ask.currency,
            capture_method: "manual",
        };
        let intents = self.intents(named).await?;
        let Some(intent) = intents.into_iter().max_by_key(rank) else { return Ok(None) };
        let state = intent.state()?;
        let refunds = match state {
            PaymentState::Captured => self.refunds(&intent.id).await.map_err(Refusal::into_port)?,
            _ => Vec::new(),
        };
        let refunds = refunds.into_iter().filter(Refund::is_made).map(|refund| GatewayRefund {
            key: refund.metadata.get(KEY).cloned().unwrap_or_default(),
            refund_id: refund.id,
            amount_minor: from_wire(refund.amount, &ask.currency),
        });
        Ok(Some(GatewayPayment {
            captured_minor: from_wire(intent.amount_received, &ask.currency),
            state,
            refunds: refunds.collect(),
            payment_id: intent.id,
        }))
    }
}
