//! A connection to the server, or to each of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind, Value,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::arriving::Inbox;
use super::writer::Ask;

/// What a server may take to answer, and to be connected to.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(super) enum Server {
    One(ConnectionInfo),
    Cluster(Box<ClusterClient>),
}

pub(super) struct Link {
    connection: Connection,
    words: Words,
    ends: Arc<Ends>,
}

enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// The commands, for channels of either kind.
#[derive(Clone, Copy)]
struct Words {
    subscribe: &'static str,
    unsubscribe: &'static str,
    publish: &'static str,
}

/// How it is seen that a connection is not what it was.
#[derive(Default)]
struct Ends {
    lost: Notify,
    /// Channels that were given up and are not confirmed. A server that moves a shard away takes its channels unasked.
    given_up: AtomicI64,
}

impl Server {
    pub(super) async fn connect(&self, is_sharded: bool, inbox: &Inbox) -> RedisResult<Link> {
        let ends = Arc::<Ends>::default();
        let push = {
            let (ends, inbox) = (ends.clone(), inbox.clone());
            move |push: PushInfo| {
                match push.kind {
                    PushKind::Disconnection => ends.lost.notify_one(),
                    PushKind::SUnsubscribe | PushKind::Unsubscribe => {
                        if ends.given_up.fetch_sub(1, Ordering::Relaxed) <= 0 {
                            ends.lost.notify_one();
                        }
                    }
                    _ => inbox.message(push),
                }
                Ok::<_, redis::aio::SendError>(())
            }
        };
        let connect = async {
            match self {
                Self::One(info) => {
                    // What waits for an answer is timed as a whole.
                    let config = AsyncConnectionConfig::new().set_push_sender(push).set_response_timeout(None);
                    let config = config.set_connection_timeout(Some(PATIENCE));
                    let client = Client::open(info.clone())?;
                    Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&config).await?))
                }
                Self::Cluster(client) => {
                    let config = ClusterConfig::new().set_push_sender(push).set_response_timeout(PATIENCE);
                    let config = config.set_connection_timeout(PATIENCE);
                    Ok(Connection::Cluster(client.get_async_connection_with_config(config).await?))
                }
            }
        };
        let connection = in_time(connect).await?;
        Ok(Link { connection, words: Words::new(is_sharded), ends })
    }
}

impl Words {
    fn new(is_sharded: bool) -> Self {
        match is_sharded {
            true => Self { subscribe: "SSUBSCRIBE", unsubscribe: "SUNSUBSCRIBE", publish: "SPUBLISH" },
            false => Self { subscribe: "SUBSCRIBE", unsubscribe: "UNSUBSCRIBE", publish: "PUBLISH" },
        }
    }

    fn command(self, ask: &mut Ask) -> Cmd {
        let mut command = Cmd::new();
        match ask {
            Ask::Subscribe(channel) => command.arg(self.subscribe).arg(&*channel),
            Ask::Unsubscribe(channel) => command.arg(self.unsubscribe).arg(&*channel),
            Ask::Publish { channel, payload, .. } => {
                command.arg(self.publish).arg(&*channel).arg(&payload.encoded()[..])
            }
        };
        command
    }
}

impl Link {
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.connection, Connection::Cluster(_))
    }

    /// Waits until the connection is lost. Cancel safe.
    pub(super) async fn lost(&self) {
        self.ends.lost.notified().await;
    }

    /// Asks for all of this, in its order for each channel, and waits for the answers: what the server has refused, and why.
    ///
    /// # Errors
    ///
    /// Where the connection is lost, or the server answers too late. Some may have been done.
    pub(super) async fn ask(&mut self, asks: &mut [Ask]) -> RedisResult<Vec<String>> {
        let given_up = asks.iter().filter(|ask| matches!(ask, Ask::Unsubscribe(_))).count();
        self.ends.given_up.fetch_add(given_up as i64, Ordering::Relaxed);
        let words = self.words;
        in_time(async {
            match &mut self.connection {
                Connection::One(connection) => {
                    let mut pipeline = Pipeline::with_capacity(asks.len());
                    asks.iter_mut().for_each(|ask| _ = pipeline.add_command(words.command(ask)));
                    send(connection, &pipeline).await
                }
                // A pipeline goes to one of its servers: each channel has one of its own.
                Connection::Cluster(connection) => {
                    let mut pipelines = HashMap::<String, Pipeline>::new();
                    for ask in asks {
                        pipelines.entry(ask.channel().to_owned()).or_default().add_command(words.command(ask));
                    }
                    let sent = pipelines.values().map(|pipeline| {
                        let mut connection = connection.clone();
                        async move { send(&mut connection, pipeline).await }
                    });
                    let refused: Vec<_> = join_all(sent).await.into_iter().collect::<RedisResult<_>>()?;
                    Ok(refused.concat())
                }
            }
        })
        .await
    }

    /// Asks whether the server is there.
    pub(super) async fn ping(&mut self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        in_time(async {
            match &mut self.connection {
                Connection::One(connection) => connection.req_packed_command(&ping).await,
                Connection::Cluster(connection) => connection.req_packed_command(&ping).await,
            }
        })
        .await
        .map(drop)
    }
}

async fn send(connection: &mut impl ConnectionLike, pipeline: &Pipeline) -> RedisResult<Vec<String>> {
    let answers = match connection.req_packed_commands(pipeline, 0, pipeline.len()).await {
        Ok(answers) => answers,
        Err(error) => return refusal(error).map(|why| vec![why]),
    };
    let errors = answers.into_iter().filter_map(|answer| match answer {
        Value::ServerError(error) => Some(refusal(error.into())),
        _ => None,
    });
    errors.collect()
}

/// Why a server refuses something for good.
///
/// # Errors
///
/// The error, where it is the connection's, or says that a server is not the one to ask now.
fn refusal(error: RedisError) -> RedisResult<String> {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::Ask
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::TryAgain,
        ) => Err(error),
        ErrorKind::Server(_) | ErrorKind::Extension => Ok(error.to_string()),
        _ => Err(error),
    }
}

async fn in_time<T>(answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer within 5 seconds").into()),
    }
}
