//! Names that were meant.

/// The known word that is nearest to what was written, if one is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let distance = |word: &'a str| (distance(&written, &word.to_lowercase()), word);
    let (off, word) = known.into_iter().map(distance).min_by_key(|(off, _)| *off)?;
    (off <= written.chars().count().max(3) / 3).then_some(word)
}

/// How many insertions, deletions and replacements lie between two words (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let mut next = vec![left];
        for (b, above) in other.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(a != *b);
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("displyName", ["id", "displayName", "domains"]), Some("displayName"));
        assert_eq!(nearest("billing", ["Billing", "Orders"]), Some("Billing"));
        assert_eq!(nearest("colour", ["id", "displayName"]), None);
    }
}
