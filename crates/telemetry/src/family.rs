//! Metrics at one moment: what every way of exporting them starts from.
use crate::histogram::Counted;
use std::borrow::Cow;

/// What a metric's values mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in seconds.
    Histogram,
}

/// The labels of one value, with the names that Prometheus shows.
pub type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// A value at one moment.
#[derive(Clone, Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Histogram(Counted),
}

/// One metric, with all its labels.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, as Prometheus shows it.
    pub name: &'static str,
    /// What it counts, for people.
    pub help: &'static str,
    /// What its values mean.
    pub kind: Kind,
    /// Its values, by their labels.
    pub samples: Vec<(Labels, Value)>,
}

impl Family {
    /// One number without labels.
    pub fn plain(name: &'static str, help: &'static str, kind: Kind, number: u64) -> Self {
        Self { name, help, kind, samples: vec![(Vec::new(), Value::Number(number))] }
    }

    /// Histograms, without those that counted nothing.
    pub fn of_histograms(
        name: &'static str,
        help: &'static str,
        histograms: impl Iterator<Item = (Labels, Counted)>,
    ) -> Self {
        let counted = histograms.filter(|(_, counted)| counted.total > 0);
        let samples = counted.map(|(labels, counted)| (labels, Value::Histogram(counted))).collect();
        Self { name, help, kind: Kind::Histogram, samples }
    }
}

/// Labels that every metric has: what the metrics are of.
#[derive(Clone, Debug, Default)]
pub struct Constant(Vec<(String, String)>);

impl Constant {
    /// Of attributes of a resource, whose names become such as labels may have. Metrics have labels of the names in `taken`
    /// already: a scrape in which one occurs twice is refused whole.
    pub fn of(attributes: &[(String, String)], taken: &[&str]) -> Self {
        let mut labels: Vec<(String, String)> = Vec::new();
        for (name, value) in attributes {
            let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
            let mut name: String = name.chars().map(plain).collect();
            if name.starts_with(|first: char| first.is_ascii_digit()) {
                name.insert(0, '_');
            }
            let taken = name == "le" || taken.contains(&name.as_str()) || name.starts_with("__");
            if !name.is_empty() && !taken && labels.iter().all(|(known, _)| *known != name) {
                labels.push((name, value.clone()));
            }
        }
        Self(labels)
    }

    pub(crate) fn labels(&self) -> &[(String, String)] {
        &self.0
    }
}
