//! Names that were meant.

/// The known word that is nearest to what was written, if one is near.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    let distance = |word: &'a str| (distance(&written, &word.to_lowercase()), word);
    let (off, word) = known.into_iter().map(distance).min_by_key(|(off, _)| *off)?;
    (off <= written.chars().count().max(3) / 3).then_some(word)
}

/// How many insertions, deletions, replacements and swaps of neighbours lie between two words.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let first: Vec<usize> = (0..=other.len()).collect();
    let (mut before, mut row, mut last) = (Vec::new(), first, None);
    for (at, a) in one.chars().enumerate() {
        let mut next = vec![at + 1];
        for (n, b) in other.iter().enumerate() {
            let cost = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX - 1);
            let mut least = (cost(&row, n) + usize::from(a != *b)).min(cost(&row, n + 1) + 1).min(cost(&next, n) + 1);
            if n > 0 && last == Some(*b) && other.get(n - 1) == Some(&a) {
                least = least.min(cost(&before, n - 1) + 1);
            }
            next.push(least);
        }
        (before, row, last) = (row, next, Some(a));
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_was_meant_is_found() {
        assert_eq!((distance("kitten", "sitting"), distance("read", "raed"), distance("", "ab")), (3, 1, 2));
        assert_eq!(nearest("displyName", ["id", "displayName", "domains"]), Some("displayName"));
        assert_eq!(nearest("billing", ["Billing", "Orders"]), Some("Billing"));
        assert_eq!(nearest("colour", ["id", "displayName"]), None);
    }
}
