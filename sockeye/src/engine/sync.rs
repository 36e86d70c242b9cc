//! The locks, atomics and thread-locals of what crosses tasks: the standard library's, or those of the checker that runs the
//! crate in every schedule (`just model`, see `model/`). `Arc` is the standard library's where a waker is made of it.
//!
//! # The order of the locks
//!
//! Whoever holds a lock takes only those that stand below it here, one of each kind; the model finds a deadlock otherwise.
//!
//! 1. The socket of two [halves](crate::socket::Sender).
//! 2. The crowds of a [group](crate::socket::Group).
//! 3. The members of a group on one connection: held while a message is given to each of them.
//! 4. The state of a stream, in its [cell](crate::engine::stream::StreamCell).
//! 5. What is ready, of a [link](crate::engine::link::Link).
//! 6. What a sender to a group [waits](crate::engine::link::Wait) for.
//!
//! What a connection knows of its [heads](crate::engine::heads) has a lock below all of them, under which nothing is called.
//!
//! A waker may run foreign code: so nobody is woken under the last three, where a waker is only cloned, and dropped for
//! another, and no sender or member of a group under the second and the third.

#[cfg(all(feature = "web-socket", not(sockeye_model)))]
pub(crate) use std::sync::Arc;
#[cfg(not(sockeye_model))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread_local,
};

#[cfg(sockeye_model)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};

/// The checker's, which knows of no constants.
#[cfg(sockeye_model)]
macro_rules! thread_local_of_model {
    () => {};
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = const { $init:expr }; $($rest:tt)*) => {
        loom::thread_local! { $(#[$attr])* $vis static $name: $t = $init; }
        $crate::engine::sync::thread_local! { $($rest)* }
    };
    ($(#[$attr:meta])* $vis:vis static $name:ident: $t:ty = $init:expr; $($rest:tt)*) => {
        loom::thread_local! { $(#[$attr])* $vis static $name: $t = $init; }
        $crate::engine::sync::thread_local! { $($rest)* }
    };
}

#[cfg(sockeye_model)]
pub(crate) use thread_local_of_model as thread_local;

/// What the standard library's thread-locals can do and the checker's cannot.
#[cfg(sockeye_model)]
pub(crate) mod keys {
    use std::cell::{Cell, RefCell};

    use loom::thread::LocalKey;

    pub(crate) trait CellKey<T> {
        fn get(&'static self) -> T;
        fn set(&'static self, value: T);
    }

    impl<T: Copy + 'static> CellKey<T> for LocalKey<Cell<T>> {
        fn get(&'static self) -> T {
            self.with(Cell::get)
        }

        fn set(&'static self, value: T) {
            self.with(|cell| cell.set(value));
        }
    }

    pub(crate) trait RefCellKey<T> {
        fn take(&'static self) -> T;
        fn with_borrow_mut<R>(&'static self, with: impl FnOnce(&mut T) -> R) -> R;
    }

    impl<T: Default + 'static> RefCellKey<T> for LocalKey<RefCell<T>> {
        fn take(&'static self) -> T {
            self.with(RefCell::take)
        }

        fn with_borrow_mut<R>(&'static self, with: impl FnOnce(&mut T) -> R) -> R {
            self.with(|cell| with(&mut cell.borrow_mut()))
        }
    }
}
