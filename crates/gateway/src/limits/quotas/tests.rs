use super::*;

fn key(text: &str) -> Key {
    Key::of([text.as_bytes()])
}

fn quota(calls: Option<u64>, bytes: Option<u64>, period: i64) -> Quota {
    Quota { calls, bytes, period, started: Timestamp(1_000) }
}

fn spend(quotas: &Quotas, of: &str, quota: &Quota, now: i64) -> Result<(), Spent> {
    quotas.spend(key(of), Keys::OfCallers, quota, 1, Timestamp(now)).map(drop)
}

#[test]
fn a_quota_is_for_windows_from_its_start() {
    let quotas = Quotas::default();
    let two = quota(Some(2), None, 100);
    for (now, expected) in [
        (1_010, Ok(())),
        (1_099, Ok(())),
        (1_099, Err(Spent::Calls(Some(1)))),
        (1_100, Ok(())),
        (1_140, Ok(())),
        (1_150, Err(Spent::Calls(Some(50)))),
        (1_020, Err(Spent::Calls(Some(80)))),
        // Nobody who comes late makes the window new.
        (1_100, Err(Spent::Calls(Some(100)))),
        (1_200, Ok(())),
        (1_010, Ok(())),
        (1_020, Err(Spent::Calls(Some(80)))),
    ] {
        assert_eq!(spend(&quotas, "a", &two, now), expected, "at {now}");
    }
    for (now, expected) in [(900, Ok(())), (999, Ok(())), (999, Err(Spent::Calls(Some(1)))), (1_000, Ok(()))] {
        assert_eq!(spend(&quotas, "b", &two, now), expected, "before its start, at {now}");
    }
}

#[test]
fn a_quota_for_life_does_not_come_back() {
    let quotas = Quotas::default();
    let one = quota(Some(1), None, 0);
    assert_eq!(spend(&quotas, "a", &one, 0), Ok(()));
    assert_eq!(spend(&quotas, "a", &one, i64::MAX), Err(Spent::Calls(None)));
}

#[test]
fn bytes_count_once_they_went_by() {
    let quotas = Quotas::default();
    let kilobyte = quota(None, Some(1_024), 100);
    let take = |now| quotas.spend(key("a"), Keys::Configured, &kilobyte, 1, Timestamp(now));
    quotas.spend_bytes(&take(1_000).unwrap(), 1_023);
    let last = take(1_001).unwrap();
    quotas.spend_bytes(&last, u64::MAX);
    assert_eq!(take(1_002), Err(Spent::Bytes(Some(98))));
    assert!(take(1_100).is_ok());
    quotas.spend_bytes(&last, u64::MAX);
    assert!(take(1_101).is_ok(), "bytes of a window that is over count for no other");
}

#[test]
fn a_call_can_count_for_several_and_be_given_back() {
    let quotas = Quotas::default();
    let five = quota(Some(5), None, 100);
    let take = |count| quotas.spend(key("a"), Keys::OfCallers, &five, count, Timestamp(1_000));
    let three = take(3).unwrap();
    assert_eq!(take(3), Err(Spent::Calls(Some(100))), "never more than there is");
    take(2).unwrap();
    assert!(take(1).is_err());
    quotas.give_back(&three);
    assert!(take(3).is_ok() && take(1).is_err());
}

#[test]
fn what_is_owed_of_keys_without_number_takes_bounded_memory_while_nobody_asks_for_it() {
    let quotas = Quotas { are_kept: true, ..Quotas::within(SHARDS * COST * 10) };
    let one = quota(Some(1), None, 100);
    for at in 0..20_000 {
        let _ = spend(&quotas, &format!("made up {at}"), &one, 1_000 + at);
    }
    let owing: usize = quotas.shards.iter().map(|shard| held(shard).owing.len()).sum();
    assert!(owing <= SHARDS * (10 + usize::from(SHARED)), "{owing}");
}

#[test]
fn keys_without_number_take_bounded_memory_and_get_nobody_a_new_quota() {
    let quotas = Quotas::within(SHARDS * COST * 10);
    let one = quota(Some(1), None, 100);
    assert_eq!(spend(&quotas, "victim", &one, 1_000), Ok(()));
    let passed = (0..50_000).filter(|at| spend(&quotas, &format!("made up {at}"), &one, 1_001).is_ok()).count();
    assert!(passed <= SHARDS * (10 + usize::from(SHARED)), "{passed}");
    assert_eq!(spend(&quotas, "victim", &one, 1_002), Err(Spent::Calls(Some(98))), "whoever is limited stays so");
    let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
    assert!(counters <= SHARDS * (10 + usize::from(SHARED)), "{counters}");
    let configured = |at: u32| quotas.spend(key(&format!("s{at}")), Keys::Configured, &one, 1, Timestamp(1_003));
    assert!((0..2_000).all(|at| configured(at).is_ok()), "subscriptions have their own");
    assert_eq!(spend(&quotas, "somebody new", &one, 1_100), Ok(()), "once windows are over there is room");
}

fn sum(of: &str, window: i64, calls: u64) -> Sum {
    let ends = Some(1_000 + (window + 1) * 100);
    Sum { key: key(of), window, ends, configured: false, calls, bytes: 0 }
}

fn wanted(of: &str, calls: u64) -> Spending {
    Spending { key: key(of), keys: Keys::OfCallers, quota: quota(Some(calls), None, 100), count: 1 }
}

/// What is owed of each key: the number of the window, calls, bytes.
fn owed(quotas: &Quotas, most: usize) -> Vec<(i64, i64, i64)> {
    quotas.owed(most).iter().map(|owed| (owed.window, owed.calls, owed.bytes)).collect()
}

#[test]
fn who_had_a_counter_keeps_it_when_there_is_room_for_no_other() {
    let quotas = Quotas::within(SHARDS * COST * 10);
    let two = quota(Some(2), None, 100);
    assert_eq!(spend(&quotas, "early", &two, 1_000), Ok(()));
    for at in 0..50_000 {
        let _ = spend(&quotas, &format!("made up {at}"), &two, 1_001);
    }
    assert_eq!(spend(&quotas, "early", &two, 1_002), Ok(()));
    assert_eq!(spend(&quotas, "late", &two, 1_002), Err(Spent::Calls(Some(98))), "the one that it shares is used up");
    for other in [quota(Some(2), None, 200), quota(Some(3), None, 100), quota(None, Some(9), 100)] {
        assert_eq!(spend(&quotas, "late", &other, 1_003), Ok(()), "of another quota there are others to share");
    }
}

#[test]
fn of_a_counter_that_is_shared_a_call_is_given_back_too() {
    let quotas = Quotas::within(0);
    let one = quota(Some(1), None, 100);
    for at in 0..100 {
        let key = key(&format!("made up {at}"));
        let charged = quotas.spend(key, Keys::OfCallers, &one, 1, Timestamp(1_000)).unwrap();
        quotas.give_back(&charged);
    }
}

#[test]
fn what_is_owed_is_of_the_window_that_is_now() {
    let quotas = Quotas::kept();
    let five = quota(Some(5), None, 100);
    let take = |now| quotas.spend(key("a"), Keys::OfCallers, &five, 1, Timestamp(now)).unwrap();
    take(1_000);
    take(1_001);
    take(1_100);
    let shard = quotas.shard(&key("a")).unwrap();
    assert_eq!(held(shard).owing.len(), 1, "it is listed once");
    assert_eq!(owed(&quotas, 10), [(1, 1, 0)]);
    let charged = take(1_101);
    let taken = quotas.owed(10);
    quotas.spend_bytes(&charged, 7);
    assert_eq!(owed(&quotas, 10), [(1, 0, 7)], "what came after it was asked for is owed too");
    quotas.owe_again(&taken);
    assert_eq!(owed(&quotas, 10), [(1, 1, 0)]);
    take(1_200);
    quotas.owe_again(&taken);
    quotas.owe(key("a"), 1, 9, 9);
    assert_eq!(owed(&quotas, 10), [(2, 1, 0)], "what was taken of a window that is over is nobody's");
    assert_eq!(quotas.owed_of(key("a")), (2, 0, 0));
}

#[test]
fn no_more_is_handed_out_at_once_than_was_asked_for() {
    let quotas = Quotas::kept();
    for at in 0..100 {
        spend(&quotas, &format!("{at}"), &quota(Some(5), None, 100), 1_000).unwrap();
    }
    assert_eq!([40, 40, 40, 40].map(|most| owed(&quotas, most).len()), [40, 40, 20, 0]);
}

#[test]
fn sums_of_all_gateways_count_beside_what_they_were_not_told_yet_and_in_their_window_alone() {
    let quotas = Quotas::kept();
    let five = quota(Some(5), None, 100);
    assert_eq!(spend(&quotas, "a", &five, 1_100), Ok(()));
    quotas.know(&[sum("a", 0, 5), sum("b", 1, 5)]);
    assert_eq!(spend(&quotas, "a", &five, 1_101), Ok(()));
    assert_eq!(spend(&quotas, "b", &five, 1_101), Ok(()), "nobody was counted under it here");
    quotas.know(&[sum("a", 1, 2)]);
    assert_eq!(spend(&quotas, "a", &five, 1_102), Ok(()), "two, two that are owed, and this one");
    assert_eq!(spend(&quotas, "a", &five, 1_103), Err(Spent::Calls(Some(97))));
}

#[test]
fn of_the_sums_that_were_kept_the_latest_count_and_no_more_than_there_is_room_for() {
    let five = quota(Some(5), None, 100);
    for order in [[0, 1], [1, 0]] {
        let quotas = Quotas::kept();
        for window in order {
            quotas.begin_with(&sum("a", window, if window == 0 { 5 } else { 4 }));
        }
        assert_eq!(spend(&quotas, "a", &five, 1_100), Ok(()));
        assert_eq!(spend(&quotas, "a", &five, 1_100), Err(Spent::Calls(Some(100))));
    }
    let quotas = Quotas::within(SHARDS * COST * 10);
    for at in 0..2_000 {
        quotas.begin_with(&sum(&format!("{at}"), 0, 5));
        quotas.begin_with(&Sum { configured: true, ..sum(&format!("configured {at}"), 0, 5) });
    }
    let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
    assert!((2_000..=2_000 + SHARDS * 10).contains(&counters), "{counters}");
}

#[test]
fn a_call_counts_for_all_quotas_or_for_none() {
    let quotas = Quotas::default();
    let both = [wanted("a", 2), wanted("b", 1)];
    assert!(quotas.spend_all(&both, Timestamp(1_000)).is_ok());
    assert_eq!(quotas.spend_all(&both, Timestamp(1_000)), Err(Spent::Calls(Some(100))));
    assert_eq!(spend(&quotas, "a", &quota(Some(2), None, 100), 1_000), Ok(()));
}

#[test]
fn what_all_gateways_used_is_known_in_its_window_and_where_there_is_room_for_it() {
    let quotas = Quotas::default();
    let now = |seconds: i64| Timestamp(1_000 + seconds);
    quotas.note(&wanted("a", 5), now(0), (2, 0), false);
    quotas.note(&wanted("a", 5), now(100), (5, 0), false);
    assert_eq!(quotas.spend_all(&[wanted("a", 5)], now(101)), Err(Spent::Calls(Some(99))));
    assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(100)), None, "it was not told that nothing is left");
    quotas.note(&wanted("a", 5), now(100), (5, 0), true);
    assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(100)), Some(Spent::Calls(Some(100))));
    assert_eq!(quotas.refused_just_now(&[wanted("a", 5)], now(101)), None);
    let quotas = Quotas::within(SHARDS * COST * 10);
    for at in 0..50_000 {
        quotas.note(&wanted(&format!("made up {at}"), 5), now(0), (2, 0), false);
    }
    let counters: usize = quotas.shards.iter().map(|shard| held(shard).used.len()).sum();
    assert!(counters <= SHARDS * 10, "{counters}");
}
