//! One connection through the proxy. Each direction has a reader and a writer. The reader reads bytes as soon as they arrive.
//! The writer writes only as the connection's [`Flow`] permits.
//!
//! Readers do not wait for writers, so that events at both ends (bytes, FIN, reset) are counted even while a fault holds them
//! back. The buffer between reader and writer is unbounded, because tests send only kilobytes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};

use super::flow::Flow;
use super::mongo_commands::MessageReader;
use super::resp_commands::CommandReader;
use super::switchboard::{NextReply, Switchboard};
use super::traffic::OpenConnection;

/// The maximum time by which tokio's timer is late.
const TIMER_RESOLUTION: Duration = Duration::from_millis(2);

/// The way in which a connection to the client ends.
enum End {
    Close,
    Reset,
}

/// Bytes from one side, or the end of that side's stream. The proxy delivers the bytes to the other side at `due` or
/// later.
struct Parcel {
    content: Content,
    due: Instant,
}

enum Content {
    Bytes(Bytes),
    Fin,
    Reset,
}

/// Serves one client until either side or a fault ends the connection.
pub(super) async fn serve(
    mut client: TcpStream,
    number: u64,
    board: &Switchboard,
    flow: &mut watch::Receiver<Flow>,
) {
    let open = board.traffic().open_connection();
    let end = tokio::select! {
        end = relay(&mut client, open, number, board, flow.clone()) => end,
        end = ordered_end(flow) => end,
    };
    // Errors do not matter here, because it is possible that the client is gone already.
    match end {
        End::Close => drop(client.shutdown().await),
        End::Reset => drop(SockRef::from(&client).set_linger(Some(Duration::ZERO))),
    }
}

/// Waits for a fault that ends this connection. Returns the kind of end that the fault requires.
async fn ordered_end(flow: &mut watch::Receiver<Flow>) -> End {
    match flow
        .wait_for(|flow| matches!(flow, Flow::Close | Flow::Reset))
        .await
        .as_deref()
    {
        Ok(Flow::Reset) => End::Reset,
        _ => End::Close,
    }
}

async fn relay(
    client: &mut TcpStream,
    open: OpenConnection<'_>,
    number: u64,
    board: &Switchboard,
    flow: watch::Receiver<Flow>,
) -> End {
    // After an error, the connection still works, only with more latency.
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let client_spoke_last = AtomicBool::new(false);
    let loses_reply = AtomicBool::new(false);
    let (requests, requests_out) = mpsc::unbounded_channel();
    let (replies, replies_out) = mpsc::unbounded_channel();

    let reading = read_requests(
        from_client,
        open,
        board,
        &client_spoke_last,
        &loses_reply,
        requests,
    );
    let serving = async {
        let mut gate = flow.clone();
        // The proxy connects to the server only when the flow of the client's connection is `Forward`.
        let opened = gate.wait_for(|flow| *flow == Flow::Forward).await.is_ok();
        let Some(mut server) = (if opened { board.connect().await } else { None }) else {
            return Err(End::Reset);
        };
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            pass_on(requests_out, to_server, flow.clone()),
            read_replies(
                from_server,
                number,
                board,
                &client_spoke_last,
                &loses_reply,
                replies
            ),
            pass_on(replies_out, to_client, flow.clone()),
        )
    };
    match tokio::try_join!(reading, serving) {
        Ok(_) => End::Close,
        Err(end) => end,
    }
}

async fn read_requests(
    mut client: ReadHalf<'_>,
    open: OpenConnection<'_>,
    board: &Switchboard,
    client_spoke_last: &AtomicBool,
    loses_reply: &AtomicBool,
    parcels: mpsc::UnboundedSender<Parcel>,
) -> Result<(), End> {
    let (mut commands, mut messages) = (CommandReader::default(), MessageReader::default());
    loop {
        let content = read(&mut client).await;
        if let Content::Bytes(bytes) = &content {
            if !client_spoke_last.swap(true, Ordering::Relaxed) {
                board.traffic().round_trip_started();
            }
            board.traffic().client_sent(bytes.len());
            for name in commands.read(bytes) {
                board.traffic().command_seen(name);
            }
            for command in messages.read(bytes) {
                let loses = board.loses_reply_to(&command.name);
                loses_reply.store(loses, Ordering::Relaxed);
                board.traffic().mongo_command_seen(command);
            }
        }
        let last = !matches!(content, Content::Bytes(_));
        // Sending fails only after the writer has ended.
        let _ = parcels.send(Parcel {
            content,
            due: Instant::now(),
        });
        if last {
            drop(open);
            return Ok(());
        }
    }
}

async fn read_replies(
    mut server: ReadHalf<'_>,
    number: u64,
    board: &Switchboard,
    client_spoke_last: &AtomicBool,
    loses_reply: &AtomicBool,
    parcels: mpsc::UnboundedSender<Parcel>,
) -> Result<(), End> {
    loop {
        let content = read(&mut server).await;
        let last = !matches!(content, Content::Bytes(_));
        if let Content::Bytes(bytes) = &content {
            board.traffic().server_sent(bytes.len());
            client_spoke_last.store(false, Ordering::Relaxed);
            match board.take_next_reply() {
                NextReply::Deliver => {}
                NextReply::Silence => board.silence(number),
                NextReply::Close => return Err(End::Close),
            }
            if loses_reply.load(Ordering::Relaxed) {
                return Err(End::Close);
            }
        }
        // Sending fails only after the writer has ended.
        let _ = parcels.send(Parcel {
            content,
            due: Instant::now() + board.delay(),
        });
        if last {
            return Ok(());
        }
    }
}

/// Reads the next bytes, FIN or reset.
async fn read(stream: &mut ReadHalf<'_>) -> Content {
    let mut bytes = BytesMut::with_capacity(16 * 1024);
    match stream.read_buf(&mut bytes).await {
        Ok(0) => Content::Fin,
        Ok(_) => Content::Bytes(bytes.freeze()),
        Err(_) => Content::Reset,
    }
}

/// Waits with a precision of a tenth of a millisecond. Tokio's timer counts only whole milliseconds.
async fn wait_until(due: Instant) {
    let rest = |ahead| {
        let rest = due.saturating_duration_since(Instant::now() + ahead);
        Some(rest).filter(|rest| !rest.is_zero())
    };
    if let Some(most) = rest(TIMER_RESOLUTION) {
        tokio::time::sleep(most).await;
    }
    if let Some(rest) = rest(Duration::ZERO) {
        let slept = tokio::task::spawn_blocking(move || std::thread::sleep(rest));
        // An error would mean that the sleep panicked, which it never does.
        let _ = slept.await;
    }
}

/// Delivers parcels in order, as the flow permits. Never returns on a silenced connection.
async fn pass_on(
    mut parcels: mpsc::UnboundedReceiver<Parcel>,
    mut stream: WriteHalf<'_>,
    mut flow: watch::Receiver<Flow>,
) -> Result<(), End> {
    while let Some(parcel) = parcels.recv().await {
        wait_until(parcel.due).await;
        let permitted = flow
            .wait_for(|flow| *flow != Flow::Stall)
            .await
            .map(|flow| *flow);
        if !matches!(permitted, Ok(Flow::Forward)) {
            continue;
        }
        match parcel.content {
            Content::Bytes(bytes) => stream.write_all(&bytes).await.map_err(|_| End::Reset)?,
            Content::Fin => return stream.shutdown().await.map_err(|_| End::Reset),
            Content::Reset => return Err(End::Reset),
        }
    }
    std::future::pending().await
}
