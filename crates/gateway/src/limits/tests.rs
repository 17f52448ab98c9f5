use super::*;
use proptest::prelude::*;

const THREE: Rate = Rate { calls: 3, period: 60 };

fn key(text: &str) -> Key {
    Key::of([text.as_bytes()])
}

fn left(limits: &Limits, of: &str, rate: Rate, now: i64) -> Result<u64, u64> {
    limits.take(key(of), Keys::OfCallers, rate, 1, Timestamp(now)).map(|counted| counted.remaining)
}

#[test]
fn who_is_refused_by_one_limit_is_not_by_a_larger_one_under_the_same_key() {
    let (limits, now) = (Limits::default(), Timestamp(100));
    limits.note_refused(&wanted("a", 10), now, 5);
    assert_eq!(limits.refused_just_now(&[wanted("a", 10)], now), Some((0, 5)));
    assert_eq!(limits.refused_just_now(&[Wanted { count: 2, ..wanted("a", 10) }], now), Some((0, 5)));
    assert_eq!(limits.refused_just_now(&[wanted("a", 1_000)], now), None);
    assert_eq!(limits.refused_just_now(&[wanted("a", 10)], Timestamp(101)), None);
}

fn wanted(of: &str, calls: u64) -> Wanted {
    Wanted { key: key(of), keys: Keys::OfCallers, rate: Rate { calls, period: 60 }, count: 1 }
}

#[test]
fn what_others_used_up_is_used_up_here_for_a_period_and_no_longer() {
    let limits = Limits::default();
    limits.note_refused(&wanted("a", 3), Timestamp(1_000), 5);
    assert_eq!(left(&limits, "a", THREE, 1_001), Err(59));
    assert_eq!(left(&limits, "a", THREE, 1_060), Ok(2));
    limits.note_refused(&wanted("b", 3), Timestamp(1_000), 5);
    assert_eq!(left(&limits, "b", THREE, 500), Err(60), "the clock was put back");
    assert_eq!(left(&limits, "b", THREE, 560), Ok(2));
}

#[test]
fn a_call_counts_under_all_counters_or_under_none() {
    let limits = Limits::default();
    let both = [wanted("a", 2), wanted("b", 1)];
    assert!(limits.take_all(&both, Timestamp(5)).is_ok());
    assert_eq!(limits.take_all(&both, Timestamp(5)), Err((1, 60)));
    assert_eq!(left(&limits, "a", Rate { calls: 2, period: 60 }, 5), Ok(0));
}

#[test]
fn calls_count_for_a_period_each_from_its_own_second() {
    let limits = Limits::default();
    for (now, expected) in [
        (0, Ok(2)),
        (10, Ok(1)),
        (10, Ok(0)),
        (10, Err(50)),
        (59, Err(1)),
        (60, Ok(0)),
        (60, Err(10)),
        (70, Ok(1)),
        (70, Ok(0)),
        (70, Err(50)),
        (1_000, Ok(2)),
    ] {
        assert_eq!(left(&limits, "a", THREE, now), expected, "at {now}");
    }
    assert_eq!(left(&limits, "b", THREE, 70), Ok(2), "another key has its own");
}

proptest! {
    #[test]
    fn no_window_has_more_calls_than_the_rate_and_none_is_refused_too_long(
        steps in proptest::collection::vec((0_i64..20, 1_u64..4), 1..200),
        (calls, period) in (1_u64..12, 1_i64..60),
        is_shared in any::<bool>(),
    ) {
        let limits = Limits::within(if is_shared { 0 } else { BYTES });
        let rate = Rate { calls, period };
        let (mut now, mut taken) = (0, Vec::new());
        for (pause, count) in steps {
            now += pause;
            let within = |taken: &[(i64, u64)], at: i64| -> u64 {
                taken.iter().filter(|(second, _)| *second > at - period).map(|(_, count)| count).sum()
            };
            match limits.take(key("a"), Keys::OfCallers, rate, count, Timestamp(now)) {
                Ok(counted) => {
                    taken.push((now, count));
                    prop_assert_eq!(within(&taken, now).checked_add(counted.remaining), Some(calls));
                }
                Err(wait) => {
                    prop_assert!(within(&taken, now) + count > calls);
                    let at = now + i64::try_from(wait).unwrap();
                    prop_assert!(within(&taken, at - 1) + count > calls, "it could have been tried sooner");
                    prop_assert!(within(&taken, at) + count <= calls || count > calls, "it is refused again");
                }
            }
        }
    }
}

#[test]
fn a_call_that_is_given_back_was_not_made() {
    let limits = Limits::default();
    let counted = limits.take(key("a"), Keys::OfCallers, THREE, 3, Timestamp(5)).unwrap();
    assert_eq!(left(&limits, "a", THREE, 6), Err(59));
    limits.give_back(&counted);
    limits.give_back(&counted);
    assert_eq!(left(&limits, "a", THREE, 6), Ok(2));
}

#[test]
fn counts_do_not_overflow() {
    let limits = Limits::default();
    let most = Rate { calls: u64::MAX, period: 60 };
    for _ in 0..2 {
        assert_eq!(
            limits.take(key("a"), Keys::OfCallers, most, u64::MAX, Timestamp(i64::MAX)).map(|c| c.remaining),
            Ok(0)
        );
    }
    assert_eq!(limits.take(key("b"), Keys::OfCallers, THREE, u64::MAX, Timestamp(0)).map(|c| c.remaining), Err(60));
    assert_eq!(left(&limits, "c", THREE, i64::MIN), Ok(2));
}

#[test]
fn a_clock_that_is_put_back_gives_no_calls_and_takes_none_for_ever() {
    let limits = Limits::default();
    for _ in 0..3 {
        left(&limits, "a", THREE, 10_000).unwrap();
    }
    assert_eq!(left(&limits, "a", THREE, 100), Err(60));
    assert_eq!(left(&limits, "a", THREE, 160), Ok(2));
}

#[test]
fn keys_without_number_take_bounded_memory_and_get_nobody_forgotten() {
    let limits = Limits::within(SHARDS * 10_000);
    for _ in 0..3 {
        left(&limits, "victim", THREE, 0).unwrap();
    }
    limits.note_refused(&wanted("refused", 1_000), Timestamp(0), 5);
    let passed = (0..100_000).filter(|at| left(&limits, &format!("made up {at}"), THREE, 1).is_ok()).count();
    let of_their_own = SHARDS * (10_000 / BOOKKEEPING + 1);
    assert!(passed <= of_their_own + SHARDS * usize::from(SHARED) * 3, "{passed}");
    assert_eq!(left(&limits, "victim", THREE, 1), Err(59), "whoever is limited stays so");
    assert_eq!(left(&limits, "refused", Rate { calls: 1_000, period: 60 }, 1), Err(59), "by others too");
    let bytes: usize = limits.shards.iter().map(|shard| held(shard).bytes).sum();
    assert!(bytes <= SHARDS * 10_400, "{bytes}");
    let shared: usize = limits.shards.iter().map(|shard| held(shard).shared.len()).sum();
    assert!(shared <= SHARDS * usize::from(SHARED), "{shared}");
    // What the configuration names has counters of its own all the same.
    for at in 0..2_000 {
        let counted = limits.take(key(&format!("subscription {at}")), Keys::Configured, THREE, 1, Timestamp(1));
        assert_eq!(counted.map(|counted| counted.remaining), Ok(2), "{at}");
    }
    // Once they are over there is room again.
    assert_eq!(left(&limits, "somebody new", THREE, 61), Ok(2));
    assert!(limits.shard(&key("somebody new")).unwrap().counters.contains_key(&key("somebody new")));
}

#[test]
fn what_is_weighed_is_what_is_there() {
    let limits = Limits::default();
    for now in 0..300 {
        left(&limits, "a", Rate { calls: 1_000, period: 300 }, now).unwrap();
    }
    limits.note(&wanted("a", 1_000), Timestamp(299), 500);
    let shard = limits.shard(&key("a")).unwrap();
    let recent = &shard.counters[&key("a")];
    assert_eq!(shard.bytes, recent.bytes());
    assert_eq!(shard.bytes, BOOKKEEPING + recent.marks.capacity() * MARK + size_of::<Elsewhere>());
    assert!(recent.marks.capacity() >= 300);
}

#[test]
fn parts_of_a_key_keep_their_bounds() {
    assert_ne!(Key::of([b"a".as_slice(), b"bc"]), Key::of([b"ab".as_slice(), b"c"]));
    assert_ne!(Key::of([b"a".as_slice(), b""]), Key::of([b"a".as_slice()]));
}
