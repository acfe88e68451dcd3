//! docs/rest-api.md, held to the router.

use std::collections::BTreeMap;

use oms_server::endpoints;

#[test]
fn the_page_lists_every_endpoint_and_says_of_each_whether_it_is_there() {
    let page = include_str!("../../../docs/rest-api.md");
    let mut said = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let endpoint = cells[1].trim_matches('`').to_owned();
        let supported = match cells[2] {
            "yes" | "differs" => true,
            "no" => false,
            other => panic!("{endpoint}: {other:?} is none of yes, differs, no"),
        };
        assert!(cells[2] != "differs" || !cells[3].is_empty(), "{endpoint} differs in what?");
        assert!(said.insert(endpoint.clone(), supported).is_none(), "{endpoint} is there twice");
    }
    let there: BTreeMap<String, bool> = endpoints()
        .into_iter()
        .map(|e| (format!("{} {}", e.method, e.path), e.supported))
        .collect();
    assert_eq!(said, there);
}
