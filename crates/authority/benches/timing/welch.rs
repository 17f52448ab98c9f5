//! Two classes of input, interleaved at random, compared by Welch's t, as dudect does (Reparaz, Balasch, Verbauwhede 2017).
use std::hint::black_box;
use std::time::Instant;
use testkit::Random;

/// From here on the classes are told apart.
pub(crate) const LEAK: f64 = 4.5;
/// What is kept of the sorted times. The slowest are the machine's doing (interrupts, other processes), and hide a small
/// difference; but a difference may be in the slow ones only, so all of these are judged.
const KEPT: [f64; 6] = [1.0, 0.999, 0.99, 0.9, 0.75, 0.5];

/// Times of both classes, in seconds.
pub(crate) struct Times([Vec<f64>; 2]);

impl Times {
    /// Times both classes, in random order. Inputs are written to one place, whose address tells nothing. `batch` calls make
    /// one sample, where one alone is shorter than the clock's grain.
    pub(crate) fn take(
        samples: usize,
        batch: usize,
        input: &mut dyn FnMut(bool, &mut String),
        call: &mut dyn FnMut(&str) -> bool,
    ) -> Self {
        let mut random = Random::seeded(0x18);
        let mut times: [Vec<f64>; 2] = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
        let mut buffer = String::with_capacity(1_024);
        for sample in 0..samples + samples / 10 {
            let class = random.below(2) == 1;
            buffer.clear();
            input(class, &mut buffer);
            #[expect(clippy::disallowed_methods, reason = "a stopwatch")]
            let start = Instant::now();
            for _ in 0..batch {
                black_box(call(black_box(&buffer)));
            }
            let taken = start.elapsed().as_secs_f64();
            // The first tenth warms up.
            if sample >= samples / 10 {
                let [no, yes] = &mut times;
                if class { yes.push(taken) } else { no.push(taken) }
            }
        }
        Self(times)
    }

    /// Welch's t for each part that is kept.
    pub(crate) fn compared(&self) -> Vec<(f64, f64)> {
        let Self([no, yes]) = self;
        let mut all: Vec<f64> = no.iter().chain(yes).copied().collect();
        all.sort_by(f64::total_cmp);
        let kept = KEPT.iter().map(|part| {
            let limit = at(&all, *part);
            let [no, yes] = [no, yes].map(|class| Moments::of(class.iter().copied().filter(|time| *time <= limit)));
            (*part, (yes.mean - no.mean) / (yes.variance / yes.count + no.variance / no.count).sqrt())
        });
        kept.collect()
    }

    /// How many there are of each class.
    pub(crate) fn counts(&self) -> [usize; 2] {
        let Self([no, yes]) = self;
        [no.len(), yes.len()]
    }

    /// The medians of both classes, in microseconds.
    pub(crate) fn medians(&self) -> [f64; 2] {
        [0, 1].map(|class| {
            let mut times = self.0.get(class).cloned().unwrap_or_default();
            times.sort_by(f64::total_cmp);
            at(&times, 0.5) * 1e6
        })
    }
}

fn at(sorted: &[f64], part: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a rank")]
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// Welford's method.
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for value in values {
            count += 1.0;
            let delta = value - mean;
            mean += delta / count;
            squares += delta * (value - mean);
        }
        Self { count, mean, variance: squares / (count - 1.0) }
    }
}
