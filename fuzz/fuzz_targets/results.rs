//! Case lists, packed verdicts and results, as a worker uploads them: what is taken is written as it was, says of each
//! name what its letter says, and stays takeable when repeats are counted.
#![no_main]

use domain::readers::tidy;
use domain::results::{CaseList, Results, Verdicts, count_repeats, letter, repeated, verdict};
use libfuzzer_sys::fuzz_target;

fn case_list(text: &str) -> Option<CaseList> {
    let list = CaseList::from_text(text.to_string()).ok()?;
    assert_eq!(list.to_text(), text);
    assert_eq!(list.names().count(), list.len());
    for (at, name) in list.names().enumerate() {
        assert_eq!(tidy(name), name);
        assert_eq!((list.get(at), list.index_of(name)), (Some(name), Some(at)));
        if let Some(of) = repeated(name) {
            assert!(name.starts_with(of) && of.len() < name.len());
        }
    }
    assert_eq!(list.get(list.len()), None);
    Some(list)
}

fn verdicts(text: &str) {
    let Ok(verdicts) = Verdicts::from_letters(text) else { return };
    assert_eq!(verdicts.as_letters(), text);
    assert_eq!(verdicts.iter().collect::<Verdicts>(), verdicts);
    assert_eq!(verdicts.counts().total() as usize, verdicts.len());
    for (byte, said) in text.bytes().zip(verdicts.iter()) {
        assert_eq!((verdict(byte), letter(said)), (Some(said), char::from(byte)));
    }
}

fn results(list: CaseList, json: &str) {
    let Ok(mut results) = serde_json::from_str::<Results>(json) else { return };
    let again = serde_json::to_string(&results).expect("results are JSON");
    assert_eq!(serde_json::from_str::<Results>(&again).expect("our own JSON"), results);
    // No fuzzer finds a SHA-256.
    results.cases = list.sha256();
    if results.check(&list).is_err() {
        return;
    }
    for (case, _) in list.names().enumerate() {
        assert!(results.failure_message(case).is_none_or(|message| message.case as usize == case));
    }
    let said: Vec<_> = list.names().map(str::to_string).zip(results.verdicts.iter()).collect();
    let messages = results.failure_messages.len();
    let (list, results) = count_repeats(list, results);
    assert_eq!(results.check(&list), Ok(()));
    assert_eq!(results.failure_messages.len(), messages);
    for (name, verdict) in said {
        let at = list.index_of(&name).expect("no name is lost");
        assert_eq!(results.verdicts.get(at), Some(verdict));
    }
}

// A list, then a line `---`, then results as JSON.
fuzz_target!(|text: &str| {
    let (list, json) = text.split_once("---\n").unwrap_or((text, ""));
    verdicts(text);
    verdicts(list);
    if let Some(list) = case_list(list) {
        results(list, json);
    }
});
