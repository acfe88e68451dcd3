"""The page in a real Chromium."""

import pytest

from harness import HOME, TOP

TRIES = ["retry", "live", "hostile", "forks", "keyboard", "axe", "fast"]

PAST = """
INSERT INTO oms_engine.workflows
    (id, definition_id, name, version, status, input, output, created_at, ended_at, reason)
SELECT gen_random_uuid(), 0, 'past', 1, CASE WHEN n % 50 = 0 THEN 3 ELSE 2 END, '{"n": 1}', '{}',
    now() - n * interval '1 second', now() - n * interval '1 second' + interval '300 ms',
    CASE WHEN n % 50 = 0 THEN 'no gateway' END
FROM generate_series(1, 100000) n
"""


# A name and a text that are no markup; an order with all that there can be.
ORDER = """
INSERT INTO orders (order_id, workflow_id, status, customer_name, customer_email, ship_to, currency, total_minor,
    acknowledged_at, completed_at)
VALUES ('order <b>1</b>', gen_random_uuid(), 'COMPLETED', '<img src=x onerror=alert(1)>', 'ann@example.com', '{}', 'EUR',
    7497, now() - interval '3 minutes', now());
INSERT INTO order_items VALUES ('order <b>1</b>', 1, 'lamp', 2, 2499), ('order <b>1</b>', 2, '<img src=x>', 1, 2499);
INSERT INTO payment_intents (order_id, idempotency_key, status, method, amount_minor, currency, payment_id,
    captured_minor, promised_minor, refunded_minor, authorised_at, captured_at)
VALUES ('order <b>1</b>', 'k', 'CAPTURED', 'card', 7497, 'EUR', 'pi_3PqR', 7497, 2499, 2499,
    now() - interval '170 seconds', now() - interval '90 seconds');
INSERT INTO payment_refunds (idempotency_key, order_id, amount_minor, status, refund_id, ended_at)
VALUES ('r', 'order <b>1</b>', 2499, 'REFUNDED', 're_3PqR', now());
INSERT INTO stock_reservations (order_id, status, reserved_at, ended_at)
VALUES ('order <b>1</b>', 'SHIPPED', now() - interval '160 seconds', now() - interval '80 seconds');
INSERT INTO notifications (order_id, stage, recipient, body, status, sent_at)
VALUES ('order <b>1</b>', 'ACKNOWLEDGED', 'ann@example.com', '<script>alert(2)</script>', 'SENT', now()),
    ('order <b>1</b>', 'COMPLETED', 'ann@example.com', 'Your order is complete and on its way.', 'PENDING', NULL);
INSERT INTO orders (order_id, workflow_id, status, failure_reason)
SELECT 'order-' || n, gen_random_uuid(), 'UNWINDING', 'no stock' FROM generate_series(1, 5) n;
"""


def make_orders(db):
    """The order tables as they are now, and some orders."""
    db.execute(
        "CREATE TABLE oms_tasks_migrations (version int PRIMARY KEY, name text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT statement_timestamp())"
    )
    for file in sorted((TOP / "migrations/oms").glob("*.sql")):
        version, name = file.stem.split("_", 1)
        db.execute(file.read_text())
        db.execute("INSERT INTO oms_tasks_migrations (version, name) VALUES (%s, %s)", [int(version), name])
    db.execute(ORDER)


@pytest.mark.parametrize("what", TRIES)
def test_the_page_is(shop, what):
    make_orders(shop.db)
    if what == "fast":
        shop.db.execute(PAST)
        shop.db.execute("ANALYZE oms_engine.workflows")
    said = shop.run("node", "page.mjs", what, shop.url, cwd=HOME / "browser")
    assert said.splitlines()[-1] == "ok", said
    print(said)
