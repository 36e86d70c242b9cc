//! The addresses of an upstream's name.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::vec::IntoIter;

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tokio::sync::watch;
use tower_service::Service;

/// Looks the name of one upstream up, once for all who ask meanwhile. The system's lookups block a thread each, for as long as a server
/// of names says nothing; many for one name would leave none for the names of others.
#[derive(Clone, Debug)]
pub(super) struct Resolver<R = GaiResolver> {
    system: R,
    under_way: Arc<Mutex<Option<Lookup>>>,
}

/// What comes of a lookup: none while it goes on.
type Lookup = watch::Receiver<Option<Found>>;
type Found = Result<Vec<SocketAddr>, (io::ErrorKind, Arc<str>)>;

impl<R> Resolver<R> {
    pub(super) fn new(system: R) -> Self {
        Self { system, under_way: Arc::default() }
    }
}

impl<R> Service<Name> for Resolver<R>
where
    R: Service<Name, Error = io::Error> + Clone,
    R::Response: Iterator<Item = SocketAddr>,
    R::Future: Send + 'static,
{
    type Response = IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<IntoIter<SocketAddr>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = under_way.as_ref().filter(|lookup| lookup.borrow().is_none() && lookup.has_changed().is_ok());
        let mut lookup = match shared {
            Some(lookup) => lookup.clone(),
            None => under_way.insert(begin(self.system.call(name))).clone(),
        };
        Box::pin(async move {
            let found = lookup.wait_for(Option::is_some).await;
            let found = found.map_err(|_| io::Error::other("the lookup of its name was given up"))?.clone();
            match found.unwrap_or_else(|| Ok(Vec::new())) {
                Ok(addresses) => Ok(addresses.into_iter()),
                Err((kind, text)) => Err(io::Error::new(kind, &*text)),
            }
        })
    }
}

/// In a task of its own, since whoever asked first may not wait for it to the end.
fn begin<A: Iterator<Item = SocketAddr>>(looking: impl Future<Output = io::Result<A>> + Send + 'static) -> Lookup {
    let (told, lookup) = watch::channel(None);
    tokio::spawn(async move {
        let found = match looking.await {
            Ok(addresses) => Ok(addresses.collect()),
            Err(error) => Err((error.kind(), error.to_string().into())),
        };
        told.send_replace(Some(found));
    });
    lookup
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn who_asks_while_a_name_is_looked_up_waits_for_what_comes_of_it() {
        let (answers, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (answering, asking) = (answers.clone(), asked.clone());
        let resolver = Resolver::new(service_fn(move |_| {
            let (answers, number) = (answering.clone(), asking.fetch_add(1, Ordering::SeqCst));
            async move {
                answers.acquire().await.unwrap().forget();
                match number {
                    0 => Err(io::Error::from(io::ErrorKind::NotFound)),
                    _ => Ok([SocketAddr::from(([127, 0, 0, 1], 0))].into_iter()),
                }
            }
        }));
        let ask = || tokio::spawn(resolver.clone().call("a.example".parse().unwrap()));
        ask().abort();
        let waiting: Vec<_> = (0..20).map(|_| ask()).collect();
        answers.add_permits(1);
        for waits in waiting {
            assert_eq!(waits.await.unwrap().unwrap_err().kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1, "who went away has taken nothing from the others");
        answers.add_permits(1);
        assert_eq!(ask().await.unwrap().unwrap().count(), 1, "what comes later is looked up anew");
    }
}
