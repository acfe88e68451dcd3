use proptest::prelude::*;
use serde_json::json;

use super::*;

fn order() -> Order {
    serde_json::from_value(json!({
        "order_id": "o-1",
        "customer": {"name": "Ada", "email": "ada@example.com"},
        "lines": [{"sku": "tea", "quantity": 2}],
        "payment": {"method": "card", "token": "tok_visa"},
        "ship_to": {"street": "Main St 1", "city": "Bern", "postal_code": "3000", "country": "CH"},
        "currency": "CHF",
    }))
    .unwrap()
}

#[test]
fn all_faults_are_told_at_once_with_their_paths() {
    let mut bad = order();
    bad.order_id = "\0".into();
    bad.customer.email = "nobody".into();
    bad.currency = "Franken".into();
    bad.lines.push(Line { sku: String::new(), quantity: 0 });
    let (from, to) = (NaiveDate::from_ymd_opt(2030, 1, 2), NaiveDate::from_ymd_opt(2030, 1, 1));
    bad.delivery_window = from.zip(to).map(|(from, to)| DeliveryWindow { from, to });
    let Err(Error::InvalidOrder { faults }) = bad.check() else { panic!("accepted") };
    for path in [
        "order_id",
        "customer.email",
        "currency",
        "lines[1].sku",
        "lines[1].quantity",
        "delivery_window.to",
    ] {
        let named = faults.iter().filter(|fault| fault.starts_with(&format!("$.{path}: ")));
        assert_eq!(named.count(), 1, "{path} in {faults:?}");
    }
    assert_eq!(faults.len(), 6);
    order().check().unwrap();
}

#[test]
fn an_order_needs_lines_and_not_too_many() {
    for lines in [0, LINES_MAX + 1] {
        let bad = Order { lines: vec![order().lines[0].clone(); lines], ..order() };
        assert!(bad.check().is_err(), "{lines} lines accepted");
    }
}

#[test]
fn unknown_fields_are_refused() {
    for path in ["", "/customer", "/lines/0", "/payment", "/ship_to"] {
        let mut value = serde_json::to_value(order()).unwrap();
        value.pointer_mut(path).unwrap()["gift_wrap"] = json!(true);
        let error = serde_json::from_value::<Order>(value).unwrap_err();
        assert!(error.to_string().contains("gift_wrap"), "{path}: {error}");
    }
}

#[test]
fn a_token_is_not_shown() {
    assert!(!format!("{:?}", order()).contains("tok_visa"));
}

proptest! {
    #[test]
    fn what_is_accepted_fits_the_columns(id in ".{0,120}", currency in ".{0,4}") {
        let order = Order { order_id: id.clone(), currency: currency.clone(), ..order() };
        if order.check().is_ok() {
            prop_assert!((1..=100).contains(&id.chars().count()) && !id.contains('\0'));
            prop_assert!(currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase()));
        }
    }
}
