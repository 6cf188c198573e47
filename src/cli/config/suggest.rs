//! What somebody may have meant.

/// Below this two words are not alike.
const ALIKE: f64 = 0.7;

/// The known word that looks most like this one.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let alike = known.map(|k| (strsim::jaro_winkler(&plain(word), &plain(k)), k)).filter(|(score, _)| *score > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_other_words_are_not() {
        let known = || ["exclude", "exclude-from", "one-file-system", "paths"].into_iter();
        assert_eq!(nearest("excldue", known()), Some("exclude"));
        assert_eq!(nearest("exclude_from", known()), Some("exclude-from"));
        assert_eq!(nearest("path", known()), Some("paths"));
        assert_eq!(nearest("zzz", known()), None);
    }
}
