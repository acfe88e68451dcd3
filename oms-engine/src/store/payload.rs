//! Payloads as `jsonb`: what is a text goes as it is.

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, Json, ToSql, Type, to_sql_checked};

use crate::definition::Payload;

impl ToSql for Payload {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(json) = self.as_text() else { return Json(&**self).to_sql(ty, out) };
        if *ty == Type::JSONB {
            // The version of the format.
            out.put_u8(1);
        }
        out.put_slice(json.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}
