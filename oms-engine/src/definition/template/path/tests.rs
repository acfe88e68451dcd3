use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::meter::{Meter, TooMuch};
use super::*;

/// A document whose top is what `$` stands for.
struct Document(Value);

impl<'s> Sources<'s> for &'s Document {
    fn source(
        &self,
        path: &Path,
        _: &mut Meter,
    ) -> Result<(Option<Cow<'s, Value>>, usize), TooMuch> {
        Ok(match path.steps.as_slice() {
            [Step::Key(key), ..] => (self.0.get(key).map(Cow::Borrowed), 1),
            _ => (None, 0),
        })
    }
}

fn shop() -> Document {
    Document(json!({
        "shop": {
            "books": [
                {"title": "A", "price": 8, "tags": ["x", "y"], "isbn": "1"},
                {"title": "B", "price": 12.5, "tags": []},
                {"title": "C", "price": 9, "tags": ["y"], "isbn": "3", "old": true},
                {"title": "D", "price": 23, "of": {"price": 1}},
            ],
            "bike": {"price": 20, "color": "red"},
            "n": [5, 3, -2],
            "none": [], "nothing": null, "text": "9", "mixed": [1, "1", true, null, [1]],
        },
        "wanted": {"price": 9, "titles": ["A", "C"]},
        "größe": {"it's": true, "q\"": false, "back\\": 4, "x]y": 5, "k e y": 6},
    }))
}

fn found(path: &str) -> Value {
    let query = parse(path).unwrap_or_else(|fault| panic!("{path}: {fault}"));
    let document = shop();
    let read = read(&query, &&document, &mut Meter::new(usize::MAX)).unwrap();
    read.map_or_else(|| json!("missing"), Cow::into_owned)
}

fn check(cases: impl IntoIterator<Item = (&'static str, Value)>) {
    for (path, expected) in cases {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn a_path_to_one_place_gives_the_value_there() {
    check([
        ("shop.bike.color", json!("red")),
        ("shop.bike.length", json!("missing")),
        ("$.shop.books[0]['title']", json!("A")),
        ("$['shop']['n'][1]", json!(3)),
        ("shop.['n'].[ 2 ]", json!(-2)),
        ("shop[\"n\"][-1]", json!(-2)),
        ("shop.n[-3]", json!(5)),
        ("shop.n[-4]", json!("missing")),
        ("shop.n[3]", json!("missing")),
        ("shop.n.0", json!("missing")),
        ("shop.nothing", json!(null)),
        ("shop.nothing.x", json!("missing")),
        ("größe['it\\'s']", json!(true)),
        ("größe[\"it's\"]", json!(true)),
        ("größe['q\\u0022']", json!(false)),
        ("größe['back\\\\']", json!(4)),
        ("größe['x]y']", json!(5)),
        ("  größe['k e y'] ", json!(6)),
    ]);
}

#[test]
fn wildcards_slices_and_unions_give_lists() {
    check([
        ("shop.books[*].title", json!(["A", "B", "C", "D"])),
        ("shop.books.*.title", json!(["A", "B", "C", "D"])),
        ("shop.bike.*", json!(["red", 20])),
        ("shop.bike[*]", json!(["red", 20])),
        ("shop.n[0,2]", json!([5, -2])),
        ("shop.n[ 2 , 0 , 9 ]", json!([-2, 5])),
        ("shop.n[1:]", json!([3, -2])),
        ("shop.n[:2]", json!([5, 3])),
        ("shop.n[:-1]", json!([5, 3])),
        ("shop.n[-2:]", json!([3, -2])),
        ("shop.n[0:2]", json!([5, 3])),
        ("shop.n[2:1]", json!([])),
        ("shop.n[-9999999999:1]", json!([5, 3, -2, 5])),
        ("shop.n[1:99]", json!([3, -2])),
        ("shop.books[0:2].price", json!([8, 12.5])),
        ("shop.bike['price','color']", json!({"price": 20, "color": "red"})),
        ("shop.bike['price', \"no\"]", json!({"price": 20})),
        ("shop.books[0]['title','tags'][0]", json!(["x"])),
        ("shop['bike','none'].price", json!([20])),
        // A path that can find several gives a list, also where it finds one or none.
        ("shop.none[*]", json!([])),
        ("shop.no.such[*].x", json!([])),
        ("nobody[*]", json!([])),
        ("shop.text[*]", json!([])),
    ]);
}

#[test]
fn a_deep_scan_gives_all_in_the_order_of_the_document() {
    check([
        ("shop..price", json!([20, 8, 12.5, 9, 23, 1])),
        ("shop.books..tags[0]", json!(["x", "y"])),
        ("shop.bike..*", json!(["red", 20])),
        ("shop.books[3]..price", json!([23, 1])),
        ("shop..['color','price']", json!([{"color": "red", "price": 20}])),
        ("shop..of.price", json!([1])),
        ("shop..[?(@.isbn)].title", json!(["A", "C"])),
        ("shop..nobody", json!([])),
    ]);
}

#[test]
fn filters_compare_as_jayway_does() {
    check([
        ("shop.books[?(@.price < 10)].title", json!(["A", "C"])),
        ("shop.books[?(@.price >= 12.5)].title", json!(["B", "D"])),
        ("shop.books[?(@.price > 8 && @.price < 10)].title", json!(["C"])),
        ("shop.books[?(@.price == 8 || @['old'] == true)].title", json!(["A", "C"])),
        ("shop.books[?(@.isbn)].title", json!(["A", "C"])),
        ("shop.books[?(!@.isbn)].title", json!(["B", "D"])),
        ("shop.books[?(!(@.isbn && @.old))].title", json!(["A", "B", "D"])),
        ("shop.books[?( @.title=='B' )].price", json!([12.5])),
        ("shop.books[?(\"B\" == @.title)].price", json!([12.5])),
        ("shop.books[?(@.title in ['A','D'])].price", json!([8, 23])),
        ("shop.books[?(@.title nin ['A', \"D\"])].price", json!([12.5, 9])),
        ("shop.books[?(@.title IN [\"A\"])].price", json!([8])),
        ("shop.books[?(@.tags contains 'y')].title", json!(["A", "C"])),
        ("shop.books[?(@.title contains 'B')].title", json!(["B"])),
        ("shop.books[?(@.tags size 2)].title", json!(["A"])),
        ("shop.books[?(@.tags empty true)].title", json!(["B"])),
        ("shop.books[?(@.tags empty false)].title", json!(["A", "C"])),
        ("shop.books[?(@.tags anyof ['x', 'z'])].title", json!(["A"])),
        ("shop.books[?(@.tags noneof ['x'])].title", json!(["B", "C"])),
        ("shop.books[?(@.tags subsetof ['y'])].title", json!(["B", "C"])),
        ("shop.books[?(@.tags all ['x', 'y'])].title", json!(["A"])),
        ("shop.books[?(@.title =~ /[ab]/i)].title", json!(["A", "B"])),
        ("shop.books[?(@.tags =~ /Y/i)].title", json!(["A", "C"])),
        ("shop.books[?(@.title =~ /A|/)].title", json!(["A"])),
        ("shop.books[?(@.tags.length() > 1)].title", json!(["A"])),
        ("shop.books[?(@.tags[*] == ['y'])].title", json!(["C"])),
        ("shop.n[?(@ > 0)]", json!([5, 3])),
        ("shop.n[?(@ in [5, -2])]", json!([5, -2])),
        ("shop.bike[?(@.color == 'red')].price", json!([20])),
        ("shop.text[?(@ == 9)]", json!([])),
    ]);
}

#[test]
fn what_is_missing_equals_nothing_and_numbers_are_read_in_texts() {
    check([
        ("shop.books[?(@.old == null)].title", json!([])),
        ("shop.books[?(@.old != true)].title", json!(["A", "B", "D"])),
        ("shop.mixed[?(@ == 1)]", json!([1, "1"])),
        ("shop.mixed[?(@ === 1)]", json!([1])),
        ("shop.mixed[?(@ !== 1)]", json!(["1", true, null, [1]])),
        ("shop.mixed[?(1.0 == @)]", json!([1, "1"])),
        ("shop.mixed[?(@ == null)]", json!([null])),
        ("shop.mixed[?(@ < 'x')]", json!(["1"])),
        ("shop.mixed[?(@ == [1])]", json!([[1]])),
        ("shop.mixed[?(@ =~ /1|true/)]", json!([1, "1", true, [1]])),
        // Beside what is no list `in` and `nin` let nothing pass.
        ("shop.n[?(@ in 5)]", json!([])),
        ("shop.n[?(@ nin 5)]", json!([])),
    ]);
}

#[test]
fn filters_read_the_document_beside_the_item() {
    check([
        ("shop.books[?(@.price == $.wanted.price)].title", json!(["C"])),
        ("shop.books[?(@.title in $['wanted'].titles)].price", json!([8, 9])),
        ("shop.books[?(@.title in $.shop.books[?(@.old)].title)].price", json!([9])),
        ("shop.books[?($.nobody.x)].title", json!([])),
        ("shop.books[?(!$.nobody.x)].title", json!(["A", "B", "C", "D"])),
    ]);
}

#[test]
fn functions_stand_at_the_end() {
    check([
        ("shop.books.length()", json!(4)),
        ("shop.bike.size()", json!(2)),
        ("shop.text.length()", json!(null)),
        ("shop.nobody.length()", json!("missing")),
        ("shop.n.sum()", json!(6.0)),
        ("shop.n.avg()", json!(2.0)),
        ("shop.n.min()", json!(-2.0)),
        ("shop.n.max()", json!(5.0)),
        ("shop.mixed.sum()", json!(1.0)),
        ("shop.none.sum()", json!("missing")),
        ("shop.n.first()", json!(5)),
        ("shop.n.last()", json!(-2)),
        ("shop.n.index(-2)", json!(3)),
        ("shop.none.first()", json!("missing")),
        ("shop.bike.keys()", json!(["color", "price"])),
        ("shop.n.keys()", json!(null)),
        ("wanted.titles.concat()", json!("AC")),
        ("concat($.shop.bike.color, \"-\", $.shop.bike.price)", json!("red-20")),
        ("$.sum($.shop.books[*].price)", json!(52.5)),
        ("shop.n.max($.shop.books..price, 30)", json!(30.0)),
        ("shop.books[*].tags.length()", json!([2, 0, 1])),
        ("shop.books[*].price.sum()", json!([])),
    ]);
    let spread = found("shop.n.stddev()").as_f64().unwrap();
    assert!((spread - (26.0_f64 / 3.0).sqrt()).abs() < 1e-9, "{spread}");
}

#[test]
fn what_is_no_path_is_refused_with_a_reason() {
    for (path, named) in [
        ("", "names nothing"),
        (" ", "names nothing"),
        ("$", "after `$`"),
        ("$a", "after `$`"),
        ("@.a", "filters alone"),
        ("a.", "ends with `.`"),
        ("a..", "ends with `.`"),
        ("a...b", "has a `.`"),
        ("a[", "after `[`"),
        ("a[]", "after `[`"),
        ("a[x]", "after `[`"),
        ("a['b'", "`]` is expected"),
        ("a['b", "not closed"),
        ("a['b' 'c']", "`]` is expected"),
        ("a['\\u12']", "no character"),
        ("a b", "blanks"),
        ("a[--1]", "no index"),
        ("a[1:2:3]", "`]` is expected"),
        ("a[:]", "written `[*]`"),
        ("a.append(1)", "`append()` is no function"),
        ("a.length().b", "behind a function"),
        ("a.keys(1)", "takes nothing"),
        ("a.index()", "one whole number"),
        ("a.sum(x)", "a value is expected"),
        ("a.sum(1", "`)` is expected"),
        ("a[?]", "`(` is expected"),
        ("a[?(@.x]", "`)` is expected"),
        ("a[?(@.x == )]", "a value is expected"),
        ("a[?(@.x is 1)]", "`is` is no operator"),
        ("a[?(1)]", "alone is no condition"),
        ("a[?(!@.x == 1)]", "in brackets"),
        ("a[?(@.x =~ 'y')]", "one /pattern/"),
        ("a[?(@.x == /y/)]", "beside `=~` alone"),
        ("a[?(@.x =~ /(/)]", "cannot be read"),
        ("a[?(@.x =~ /a)(b/)]", "cannot be read"),
        ("a[?(@.x =~ /a/g)]", "flag `g`"),
        ("a[?(@.x =~ /(?=a)b/)]", "cannot be read"),
        ("a[?(@.x =~ /((a{99}){99}){99}/)]", "too large"),
        ("a[?(@.x == $)]", "followed by"),
    ] {
        match parse(path) {
            Ok(query) => panic!("{path}: {query:?}"),
            Err(fault) => assert!(fault.contains(named), "{path}: {fault}"),
        }
    }
}

#[test]
fn paths_are_bounded_in_length_and_nesting() {
    let refused = |path: String| parse(&path).unwrap_err();
    assert!(refused("a".repeat(5_000)).contains("longer than"));
    let filters = format!("a{}@{}", "[?(@.a".repeat(400), ")]".repeat(400));
    assert!(refused(filters).contains("nested deeper"));
    assert!(refused(format!("a[?({}@.x)]", "!".repeat(2_000))).contains("nested deeper"));
    assert!(refused(format!("a[?(@ == {})]", "[".repeat(2_000))).contains("nested deeper"));
    assert!(refused(format!("a{}", ".sum($.a".repeat(200))).contains("nested deeper"));
    assert!(refused(format!("a[?({})]", "@=~/x/||".repeat(9))).contains("more than 8 patterns"));
}

#[test]
fn a_reading_ends_at_its_limit_however_hostile_path_and_data_are() {
    let wide = Document(json!({ "a": vec![json!([1, 2, 3]); 3_000] }));
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let deep = Document(json!({ "a": deep }));
    for (path, document) in [
        (format!("a{}", "..*".repeat(200)), &deep),
        ("a[?(@ in $.a)]".to_owned(), &wide),
        ("a[?(@ anyof $.a)]".to_owned(), &wide),
        (format!("a{}", format!("[{}]", ["0"; 40].join(",")).repeat(20)), &deep),
    ] {
        let query = parse(&path).unwrap();
        let read = read(&query, &document, &mut Meter::new(usize::MAX));
        assert_eq!(read.unwrap_err(), TooMuch::Visits, "{path}");
    }
    let query = parse("a[?(@ == $.a)]").unwrap();
    assert!(read(&query, &&wide, &mut Meter::new(usize::MAX)).is_ok());
}

#[test]
fn what_comes_out_is_paid_for_before_it_is_copied() {
    let document = Document(json!({ "a": ["x".repeat(1_000)] }));
    let query = parse(&format!("a[{}]", ["0"; 100].join(","))).unwrap();
    let read = read(&query, &&document, &mut Meter::new(50_000));
    assert_eq!(read.unwrap_err(), TooMuch::Bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_or_refused(
        text in ".{0,40}|[a$@.\\[\\]'\"\\\\0-9:,*?()=~!<>&|/{} u-]{0,24}|(shop|books|n|[?(]@[.]price|[)\\]]|[.\\[]|[*]|== ?|[0-9]|in|\\[|,|:|')(shop|books|[.]|[?(]@|[)\\]]|\\[|[*]|==|[0-9]|,|:|'){0,12}"
    ) {
        if let Ok(query) = parse(&text) {
            let document = shop();
            let found = read(&query, &&document, &mut Meter::new(usize::MAX));
            prop_assert!(found.is_ok());
        }
    }

    #[test]
    fn any_key_can_be_written_in_brackets(key in "\\PC{0,20}") {
        let quoted = key.replace('\\', "\\\\").replace('\'', "\\'");
        let query = parse(&format!("$['{quoted}']")).unwrap();
        prop_assert_eq!(query.path.steps, vec![Step::Key(key)]);
    }
}
