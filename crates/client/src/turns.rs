//! Whose turn it is, where only so much is done at once: who wants much waits for itself, and others go before it.
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// For whom it is done, where that is known.
type Asker = Option<IpAddr>;

/// So many turns at once, and so many places for who has one or waits for one. Once half of either are taken, no asker gets more
/// than a quarter.
pub(crate) struct Turns {
    at_once: usize,
    places: usize,
    /// Held for moments only, never across an await.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    places: Taken,
    turns: Taken,
    waiting: VecDeque<(Asker, oneshot::Sender<Turn>)>,
}

/// How much is taken, and by whom.
#[derive(Default)]
struct Taken {
    all: usize,
    by: HashMap<Asker, usize>,
}

impl Taken {
    fn of(&self, asker: &Asker) -> usize {
        self.by.get(asker).copied().unwrap_or_default()
    }

    fn has_room(&self, asker: &Asker, most: usize) -> bool {
        self.all < most / 2 || (self.all < most && self.of(asker) < most / 4)
    }

    fn take(&mut self, asker: Asker) {
        self.all += 1;
        *self.by.entry(asker).or_default() += 1;
    }

    fn give_back(&mut self, asker: &Asker) {
        self.all = self.all.saturating_sub(1);
        let left = self.of(asker).saturating_sub(1);
        match self.by.get_mut(asker) {
            Some(count) if left > 0 => *count = left,
            _ => drop(self.by.remove(asker)),
        }
    }
}

impl Turns {
    pub(crate) fn new(at_once: usize, places: usize) -> Arc<Self> {
        Arc::new(Self { at_once, places, state: Mutex::default() })
    }

    /// A place to wait in; none where there is no room for this asker.
    pub(crate) fn enter(self: &Arc<Self>, asker: Asker) -> Option<Place> {
        let mut state = self.state();
        if !state.places.has_room(&asker, self.places) {
            return None;
        }
        state.places.take(asker);
        Some(Place { turns: Arc::clone(self), asker })
    }

    /// Hands turns to those who wait, as long as one of them may have one: to whoever has fewest, and came first.
    fn hand_on(self: &Arc<Self>) {
        loop {
            let mut state = self.state();
            state.waiting.retain(|(_, tell)| !tell.is_closed());
            let turns = &state.turns;
            let may = |(_, (asker, _)): &(usize, &(Asker, _))| turns.has_room(asker, self.at_once);
            let next = state.waiting.iter().enumerate().filter(may).min_by_key(|(_, (asker, _))| turns.of(asker));
            let Some((asker, tell)) = next.map(|(at, _)| at).and_then(|at| state.waiting.remove(at)) else { return };
            state.turns.take(asker);
            drop(state);
            // Who does not wait any more gives it back.
            drop(tell.send(Turn { turns: Arc::clone(self), asker }));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One's place, as long as this is there.
pub(crate) struct Place {
    turns: Arc<Turns>,
    asker: Asker,
}

impl Place {
    /// One's turn, once it has come.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let (tell, told) = oneshot::channel();
        self.turns.state().waiting.push_back((self.asker, tell));
        self.turns.hand_on();
        told.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.state().places.give_back(&self.asker);
    }
}

/// One's turn, as long as this is there.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    asker: Asker,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.state().turns.give_back(&self.asker);
        self.turns.hand_on();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn enter(turns: &Arc<Turns>, last: u8) -> Option<Place> {
        turns.enter(Some([192, 0, 2, last].into()))
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    fn at_once(places: &[Place]) -> Vec<Turn> {
        places.iter().filter_map(|place| now(place.turn()).flatten()).collect()
    }

    #[test]
    fn who_asks_much_leaves_room_and_who_has_fewest_is_next() {
        let turns = Turns::new(8, 100);
        let enter = |last, many| (0..many).filter_map(|_| enter(&turns, last)).collect::<Vec<_>>();
        let (mallory, ada, eve, bob) = (enter(1, 10), enter(2, 3), enter(3, 3), enter(4, 1));
        let mut held = at_once(&mallory);
        assert_eq!(held.len(), 4, "half of them, alone");
        let hers = at_once(&ada);
        assert_eq!(hers.len(), 2, "a quarter");
        let eves = at_once(&eve);
        assert_eq!(eves.len(), 2);

        // All are taken. Mallory waits longest, and has most.
        let mut mallorys = Box::pin(mallory[0].turn());
        let mut adas = Box::pin(ada[0].turn());
        let mut bobs = Box::pin(bob[0].turn());
        assert!(now(mallorys.as_mut()).is_none() && now(adas.as_mut()).is_none() && now(bobs.as_mut()).is_none());
        held.clear();
        assert!(now(mallorys.as_mut()).flatten().is_some() && now(bobs.as_mut()).flatten().is_some());
        assert!(now(adas.as_mut()).is_none(), "she has her quarter");
        drop((hers, eves));
        assert!(now(adas.as_mut()).flatten().is_some());
        let state = turns.state();
        assert_eq!((state.turns.all, state.turns.by.len(), state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn the_next_is_whoever_has_fewest() {
        let turns = Turns::new(12, 100);
        let all = [1, 1, 1, 1, 1, 1, 2, 2, 3, 3, 3, 4].into_iter();
        let places: Vec<Place> = all.filter_map(|last| enter(&turns, last)).collect();
        let mut held = at_once(&places);
        assert_eq!(held.len(), 12);
        let waiting: Vec<Place> = [2, 5].into_iter().filter_map(|last| enter(&turns, last)).collect();
        let mut again = Box::pin(waiting[0].turn());
        let mut newly = Box::pin(waiting[1].turn());
        assert!(now(again.as_mut()).is_none() && now(newly.as_mut()).is_none());
        drop(held.remove(0));
        assert!(now(again.as_mut()).is_none(), "the second would have a third");
        let newly = now(newly.as_mut()).flatten();
        assert!(newly.is_some());
        drop(newly);
        assert!(now(again.as_mut()).flatten().is_some());
    }

    #[test]
    fn a_turn_whose_asker_is_gone_is_the_next_ones() {
        let turns = Turns::new(4, 100);
        let places: Vec<Place> = (1..=6).filter_map(|last| enter(&turns, last)).collect();
        let held = at_once(&places[..4]);
        assert_eq!(held.len(), 4);
        let mut gone = Box::pin(places[4].turn());
        let mut next = Box::pin(places[5].turn());
        assert!(now(gone.as_mut()).is_none() && now(next.as_mut()).is_none());
        drop(gone);
        let last = enter(&turns, 7).unwrap();
        let mut last = Box::pin(last.turn());
        assert!(now(last.as_mut()).is_none());
        assert_eq!(turns.state().waiting.len(), 2, "of who is gone nothing is kept");
        drop(held);
        assert!(now(next.as_mut()).flatten().is_some());
    }

    #[test]
    fn places_are_bounded_for_all_and_for_each() {
        let turns = Turns::new(1, 8);
        let enter = |last| enter(&turns, last);
        let mallory: Vec<Place> = std::iter::from_fn(|| enter(1)).collect();
        assert_eq!(mallory.len(), 4);
        let others: Vec<Place> = [2, 2, 2, 3].into_iter().filter_map(enter).collect();
        assert_eq!(others.len(), 3, "two of each");
        let last = enter(4).unwrap();
        assert!(enter(5).is_none(), "all are taken");
        drop((mallory, others, last));
        assert!(enter(5).is_some());
        assert!(turns.state().places.by.is_empty());
    }
}
