//! Pages that hold what no page should.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{rules, runs};
use crate::{
    api::wire::{error_message, list, single},
    model::{Run, Workflow},
};

#[test]
fn what_is_no_run_is_described_without_its_data_and_the_same_each_time() {
    let text = r#"[{"id":"x\u0007","status":null,"input":"private"}, {"status":"FAILED"}, 5, ["a","FAILED"],
        {"id":true,"status":"FAILED"}, {"id":"..","status":"FAILED"}, {"id":"d","status":5}]"#;
    let list = runs(text);
    assert_eq!((list.keys.len(), list.items.len()), (7, 0));
    let described: Vec<_> =
        list.undecodable.iter().map(|item| (item.id.as_deref(), &*item.reason)).collect();
    assert_eq!(
        described,
        [
            (Some("x\u{FFFD}"), "it has no usable id"),
            (None, "it has no usable id"),
            (None, "it is not an object"),
            (None, "it is not an object"),
            (None, "it has no usable id"),
            (Some(".."), "it has no usable id"),
            (Some("d"), "its status is not a string"),
        ]
    );
    assert_eq!(list.undecodable, runs(text).undecodable);
    let keys: std::collections::HashSet<_> = list.undecodable.iter().map(|item| item.key).collect();
    assert_eq!(keys.len(), 7);
    let changed = text.replace("private", "changed");
    assert_eq!(list.undecodable, runs(changed).undecodable);
}

#[test]
fn an_id_of_more_than_128_bytes_is_none() {
    for (bytes, usable) in [(128, true), (129, false)] {
        let id = "x".repeat(bytes);
        let run = format!(r#"[{{"id":"{id}","status":"FAILED"}}]"#);
        assert_eq!(runs(&run).items.len(), usize::from(usable), "{bytes}");
        let workflow = format!(r#"[{{"id":"{id}","name":"w"}}]"#);
        let listed = list::<Workflow>(workflow.as_bytes(), rules()).expect("a list");
        assert_eq!(listed.items.len(), usize::from(usable), "{bytes}");
    }
}

#[test]
fn hostile_values_spoil_neither_the_page_nor_what_is_beside_them() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!("\"{}\"", "x".repeat(1_000_000));
    for hostile in ["1e999", r#""\ud800""#, "\"\u{1}\"", &deep, &huge, r#"{"a":1,"a":2}"#] {
        for field in ["id", "status", "ended_at", "output", "input", "usage", "workflow_version"] {
            let text = format!(
                r#"[{{"id":"a","status":"FAILED"}},{{"{field}":{hostile}}},{{"id":"b","status":"FAILED"}}]"#
            );
            let Ok(list) = list::<Run>(text.as_bytes(), rules()) else {
                assert!(hostile.contains('\u{1}'), "{field}: a raw control character is no JSON");
                continue;
            };
            let ids: Vec<_> = list.items.iter().map(|run| run.id.as_str()).collect();
            assert_eq!((ids, list.keys.len()), (vec!["a", "b"], 3), "{field}");
        }
    }
}

#[test]
fn bytes_that_are_no_utf_8_spoil_only_what_they_are_in() {
    let text = b"[{\"id\":\"a\",\"status\":\"FAILED\",\"input\":\"\xFF\"},{\"id\":\"b\",\"status\":\"FAILED\",\"origin\":\"\xC3\"}]";
    let list = runs(text);
    assert_eq!((list.items.len(), list.undecodable.len()), (2, 0));
}

#[test]
fn what_is_no_list_or_no_object_is_neither() {
    for text in ["", "{}", "<html>", "[1", "[] []", "nul", "\"a\"", "[{\"id\":\"a\"]"] {
        assert!(list::<Run>(text.as_bytes(), rules()).is_err(), "{text}");
    }
    for text in ["", "[]", "<html>", "{", "null", "{}x"] {
        assert!(single::<Run>(text.as_bytes(), rules()).is_err(), "{text}");
    }
}

#[test]
fn only_so_many_undecodable_items_are_described() {
    let list = runs(format!("[{}1]", "1,".repeat(5000)));
    assert_eq!((list.keys.len(), list.undecodable.len()), (5001, 1000));
}

#[test]
fn an_errors_message_is_found_or_not() {
    assert_eq!(error_message(br#"{"status":400,"message":"no"}"#), Some("no".into()));
    for other in ["", "<html>", "[]", "{}", r#"{"message":5}"#] {
        assert_eq!(error_message(other.as_bytes()), None, "{other}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("id"),
        Just("status"),
        Just("output"),
        Just("start"),
        Just("end"),
        Just("key"),
        Just("usage"),
        Just("steps"),
        Just("total"),
        Just("ended_at"),
        Just("workflow_version"),
        Just("type"),
        Just("FAILED"),
        Just("2023-12-25T12:00:00Z"),
    ]
    .prop_map(String::from);
    let text = prop_oneof![word, any::<String>()].boxed();
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let listed = list::<Run>(&bytes, rules()).map_or(0, |list| list.keys.len());
        prop_assert!(listed <= bytes.len());
        let _ = (list::<Workflow>(&bytes, rules()).is_ok(), single::<Run>(&bytes, rules()).is_ok());
    }

    #[test]
    fn whatever_a_field_holds_the_run_is_listed(value in any_json(), field in "[a-z_]{2,8}|output|usage|workflow_version|ended_at|origin") {
        let mut fields = json!({});
        fields[field] = value;
        fields["id"] = json!("a");
        fields["status"] = json!("FAILED");
        let list = runs(json!([fields]).to_string());
        prop_assert_eq!((list.items.len(), list.undecodable.len()), (1, 0));
    }

    #[test]
    fn a_bad_item_costs_only_itself(value in any_json(), before in 0_usize..4, after in 0_usize..4) {
        let good = json!({"id": "good", "status": "COMPLETED"});
        let mut items = vec![good.clone(); before];
        items.push(value);
        items.extend(vec![good; after]);
        let list = runs(Value::from(items).to_string());
        prop_assert_eq!(list.keys.len(), before + 1 + after);
        prop_assert_eq!(list.items.len() + list.undecodable.len(), list.keys.len());
        prop_assert!(list.items.len() >= before + after);
    }

    #[test]
    fn whatever_a_field_holds_the_workflow_is_listed(value in any_json(), field in "name|key|enabled|version|runs_count|steps|created_at|tests_stats|[a-z_]{2,8}") {
        prop_assume!(field != "id");
        let mut fields = json!({"id": "a", "name": "A"});
        fields[field] = value;
        let text = json!([fields, {"id": "b"}]).to_string();
        let list = list::<Workflow>(text.as_bytes(), rules()).expect("it is a list");
        prop_assert_eq!((list.keys.len(), list.items.len() + list.undecodable.len()), (2, 2));
        prop_assert_eq!(list.items.last().map(|workflow| workflow.id.as_str()), Some("b"));
    }
}
