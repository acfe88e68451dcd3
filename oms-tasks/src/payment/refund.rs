//! The refund of a part, as the partial refund and the reversal ask for it.

use tokio_postgres::types::Type;

use super::{Intent, Till, port};
use crate::error::Error;
use crate::ports::{PartRefundAnswer, PartRefundRequest};
use crate::sql::{RECORD_PART_REFUND, REFUSE_PART_REFUND};
use crate::stage::Stage;

/// A refund whose row is written.
#[derive(Debug)]
pub(super) struct Meant {
    pub(super) key: String,
    pub(super) amount_minor: i64,
    /// Whether nobody can have asked the gateway for it yet.
    pub(super) fresh: bool,
}

impl Till {
    /// Gives a part back, and writes it; gives the gateway's id of the refund.
    pub(super) async fn give_back(
        &self,
        intent: &Intent,
        payment_id: &str,
        meant: Meant,
    ) -> Result<String, Error> {
        let Meant { key, amount_minor, fresh } = meant;
        let known = if fresh { None } else { self.find(intent).await? };
        let made = known.into_iter().flat_map(|known| known.refunds).find(|made| made.key == key);
        let answer = match made {
            Some(made) => PartRefundAnswer::Refunded { refund_id: made.refund_id },
            None => {
                let request = PartRefundRequest {
                    key: key.clone(),
                    payment_key: intent.key.clone(),
                    payment_id: payment_id.to_owned(),
                    order_id: intent.order_id.clone(),
                    amount_minor,
                    currency: intent.currency.clone(),
                };
                self.gateway.refund_part(&request).await.map_err(port)?
            }
        };
        match answer {
            PartRefundAnswer::Refunded { refund_id } => {
                let body = Stage::Refunded.body(&intent.order_id);
                let params = [
                    (&key as _, Type::TEXT),
                    (&refund_id as _, Type::TEXT),
                    (&body as _, Type::TEXT),
                ];
                RECORD_PART_REFUND.run(&self.pool, &params).await?;
                Ok(refund_id)
            }
            PartRefundAnswer::Refused { code } => {
                let params = [(&key as _, Type::TEXT), (&code as _, Type::TEXT)];
                REFUSE_PART_REFUND.run(&self.pool, &params).await?;
                Err(Error::RefundRefused { order_id: intent.order_id.clone(), code })
            }
        }
    }
}
