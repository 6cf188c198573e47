use super::Sort::*;
use super::*;

#[test]
fn sorts_and_texts() {
    let text = br#" {"a": [null, true, false, 1, -0, 1.0, 1e5, NaN, Infinity, -Infinity, "x", "\u00e9", "\u00e9\n", [], {}], "b": {"c": []}} "#;
    let text = String::from_utf8_lossy(text).replace("\\u00e9\"", "é\"");
    let mut tape = Tape::default();
    let root = tape.read(text.as_bytes(), &Limits::default()).unwrap();
    let names: Vec<_> = root.members().map(|(name, _)| name.text().unwrap()).collect();
    assert_eq!(names, ["a", "b"]);
    let (_, list) = root.members().next().unwrap();
    let sorts = [
        Null, True, False, Whole, Whole, Fraction, Fraction, NotFinite, NotFinite, NotFinite, Text, Text, Text, List,
        Object,
    ];
    assert_eq!(list.items().map(|item| item.sort()).collect::<Vec<_>>(), sorts);
    let flags = |item: Value| (item.is_plain(), item.is_escaped());
    let texts: Vec<_> = list.items().filter(|item| item.sort() == Text).map(flags).collect();
    assert_eq!(texts, [(true, false), (false, false), (false, true)]);
    assert_eq!(list.items().last().unwrap().raw(), "{}");
    assert_eq!(root.members().last().unwrap().1.raw(), r#"{"c": []}"#);
    assert_eq!((root.items().count(), list.members().count()), (0, 0));
}

/// Strings are gone through eight bytes at a time: each special byte at each place, with others around it.
#[test]
fn every_place_of_eight() {
    for len in 0..20 {
        for at in 0..len {
            for (special, plain, well) in
                [("\\n", false, true), ("é", false, true), ("\u{1f}", false, false), ("~", true, true)]
            {
                for around in ["a", "\u{7f}", " "] {
                    let inner = format!("{}{special}{}", around.repeat(at), around.repeat(len - at));
                    let text = format!("[\"{inner}\",\"é\"]");
                    let mut tape = Tape::default();
                    let Ok(root) = tape.read(text.as_bytes(), &Limits::default()) else {
                        assert!(!well, "{text}");
                        continue;
                    };
                    let first = root.items().next().unwrap();
                    assert!(well && first.is_plain() == plain, "{text}");
                    assert_eq!(first.text().unwrap(), inner.replace("\\n", "\n"));
                }
            }
        }
    }
}

#[test]
fn limits() {
    let read = |text: &[u8], limits: Limits| Tape::default().read(text, &limits).map(|_| ()).map_err(|e| e.to_string());
    let limits = Limits { depth: 2, bytes: 20, values: 4 };
    assert_eq!(read(b"[[1,2]]", limits), Ok(()));
    assert_eq!(read(b"[[[]]]", limits), Err("it is nested more than 2 deep (line 1, column 3)".to_owned()));
    assert_eq!(
        read(b"[1,2,3,4]", limits),
        Err("it holds more values than fit into the memory that is granted (line 1, column 9)".to_owned())
    );
    assert_eq!(
        read(&[b' '; 21], limits),
        Err("it is longer than the 20 bytes that are read (line 1, column 1)".to_owned())
    );
    assert_eq!(read(b"1", Limits { depth: 0, ..limits }), Ok(()));
    assert!(read(b"[]", Limits { depth: 0, ..limits }).is_err());
}
