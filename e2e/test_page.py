"""The page in a real Chromium."""

import pytest

from harness import HOME

TRIES = ["retry", "live", "hostile", "keyboard", "axe", "fast"]

PAST = """
INSERT INTO oms_engine.workflows
    (id, definition_id, name, version, status, input, output, created_at, ended_at, reason)
SELECT gen_random_uuid(), 0, 'past', 1, CASE WHEN n % 50 = 0 THEN 3 ELSE 2 END, '{"n": 1}', '{}',
    now() - n * interval '1 second', now() - n * interval '1 second' + interval '300 ms',
    CASE WHEN n % 50 = 0 THEN 'no gateway' END
FROM generate_series(1, 100000) n
"""


@pytest.mark.parametrize("what", TRIES)
def test_the_page_is(shop, what):
    if what == "fast":
        shop.db.execute(PAST)
        shop.db.execute("ANALYZE oms_engine.workflows")
    said = shop.run("node", "page.mjs", what, shop.url, cwd=HOME / "browser")
    assert said.splitlines()[-1] == "ok", said
    print(said)
