//! The boards of the performances that somebody looks at: read from the database at most four times a second each,
//! however many look.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::board::{Board, Known, SeatIndex};
use crate::{catalogue::Event, clock::Clock, refusal::Refusal, store::Store};

/// How old a board may be.
const FRESH_MS: u64 = 250;

/// The boards of this instance. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    store: Store,
    clock: Clock,
    boards: Arc<Mutex<HashMap<u32, Shared>>>,
}

type Shared = Arc<tokio::sync::Mutex<Watched>>;

struct Watched {
    index: SeatIndex,
    board: Board,
    read_ms: Option<u64>,
    /// What was encoded last for a reader with this much: most readers are at the same version.
    encoded: Option<(Option<Known>, Known, bytes::Bytes)>,
}

impl Live {
    /// No board yet: each is made by its first reader.
    pub fn new(store: Store, clock: Clock) -> Live {
        Live { store, clock, boards: Arc::default() }
    }

    /// What a reader with `known` must be told, as bytes, and where it stands then.
    pub async fn update(
        &self,
        event: &Event<'_>,
        known: Option<Known>,
    ) -> Result<(Known, bytes::Bytes), Refusal> {
        let shared = self.shared(event);
        let mut watched = shared.lock().await;
        self.refresh(event.performance.id, &mut watched).await?;
        let now = watched.board.known();
        if let Some((from, to, bytes)) = &watched.encoded
            && (*from, *to) == (known, now)
        {
            return Ok((now, bytes.clone()));
        }
        let bytes = bytes::Bytes::from(watched.board.encode(known));
        watched.encoded = Some((known, now, bytes.clone()));
        Ok((now, bytes))
    }

    /// The board as it is now.
    pub async fn board(&self, event: &Event<'_>) -> Result<(SeatIndex, Board), Refusal> {
        let shared = self.shared(event);
        let mut watched = shared.lock().await;
        self.refresh(event.performance.id, &mut watched).await?;
        Ok((watched.index.clone(), watched.board.clone()))
    }

    fn shared(&self, event: &Event<'_>) -> Shared {
        let mut boards = self.boards.lock().unwrap_or_else(PoisonError::into_inner);
        let made = boards.entry(event.performance.id).or_insert_with(|| {
            let index = SeatIndex::of(&event.hall.layout);
            let board = Board::new(rand::random(), index.seats());
            Arc::new(tokio::sync::Mutex::new(Watched { index, board, read_ms: None, encoded: None }))
        });
        made.clone()
    }

    /// Reads it again if it is old. Whoever comes meanwhile waits for this one reading.
    async fn refresh(&self, performance: u32, watched: &mut Watched) -> Result<(), Refusal> {
        let now_ms = self.clock.now_ms();
        if watched.read_ms.is_some_and(|read| now_ms.abs_diff(read) < FRESH_MS) {
            return Ok(());
        }
        let taken = self.store.taken(performance, now_ms).await?;
        let seats: Vec<u32> = taken.iter().filter_map(|t| watched.index.index(&t.seat)).collect();
        watched.board.set(seats);
        watched.read_ms = Some(now_ms);
        Ok(())
    }
}
