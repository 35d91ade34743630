//! Tests each fault with a plain TCP client and an echo server.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::FaultProxy;
use crate::eventually::eventually;

/// The time limit for events that must happen.
const SOON: Duration = Duration::from_secs(5);
/// The time after which a test concludes that nothing arrives.
const SILENCE: Duration = Duration::from_millis(50);

async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    address
}

async fn proxy() -> FaultProxy {
    FaultProxy::in_front_of(echo_server().await)
}

async fn connect(proxy: &FaultProxy) -> TcpStream {
    TcpStream::connect(proxy.address())
        .await
        .expect("the proxy accepts")
}

/// Returns what arrives next within the time limit: bytes, an empty string for a FIN, or an error.
async fn receive(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = [0; 64];
    let length = timeout(SOON, stream.read(&mut bytes))
        .await
        .expect("something comes")?;
    Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
}

async fn echo(stream: &mut TcpStream, text: &str) -> std::io::Result<String> {
    stream.write_all(text.as_bytes()).await?;
    receive(stream).await
}

async fn assert_silent(stream: &mut TcpStream) {
    assert!(
        timeout(SILENCE, stream.read(&mut [0; 64])).await.is_err(),
        "something came"
    );
}

#[tokio::test]
async fn without_a_fault_bytes_and_ends_are_forwarded() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    assert_eq!(echo(&mut client, "a").await.unwrap(), "a");
    assert_eq!(
        (proxy.accepted(), proxy.open(), proxy.round_trips()),
        (1, 1, 1)
    );
    client.shutdown().await.unwrap();
    assert_eq!(receive(&mut client).await.unwrap(), "");
    eventually(SOON, async || proxy.open() == 0).await;
}

#[tokio::test]
async fn refused_connections_work_again_on_the_same_port_after_healing() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    assert_eq!(echo(&mut client, "a").await.unwrap(), "a");
    proxy.refuse();
    assert_eq!(receive(&mut client).await.unwrap(), "");
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.heal();
    assert_eq!(echo(&mut connect(&proxy).await, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn closed_and_reset_connections_end_differently() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    assert_eq!(echo(&mut client, "a").await.unwrap(), "a");
    proxy.close_connections();
    assert_eq!(receive(&mut client).await.unwrap(), "");

    let mut client = connect(&proxy).await;
    assert_eq!(echo(&mut client, "b").await.unwrap(), "b");
    proxy.reset_connections();
    assert_eq!(
        receive(&mut client).await.unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    assert_eq!(echo(&mut connect(&proxy).await, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn a_stall_holds_what_healing_releases() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    proxy.stall();
    let mut new = connect(&proxy).await;
    for client in [&mut old, &mut new] {
        client.write_all(b"held").await.unwrap();
        assert_silent(client).await;
    }
    proxy.heal();
    assert_eq!(receive(&mut old).await.unwrap(), "held");
    assert_eq!(receive(&mut new).await.unwrap(), "held");
}

#[tokio::test]
async fn stall_existing_holds_no_new_connection() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    assert_eq!(echo(&mut old, "a").await.unwrap(), "a");
    proxy.stall_existing();
    old.write_all(b"held").await.unwrap();
    assert_silent(&mut old).await;
    let mut new = connect(&proxy).await;
    assert_eq!(echo(&mut new, "b").await.unwrap(), "b");
    proxy.heal();
    assert_eq!(receive(&mut old).await.unwrap(), "held");
}

#[tokio::test]
async fn a_black_holed_connection_stays_silent_after_healing() {
    let proxy = proxy().await;
    proxy.black_hole();
    let mut client = connect(&proxy).await;
    client.write_all(b"lost").await.unwrap();
    assert_silent(&mut client).await;
    proxy.heal();
    client.write_all(b"lost too").await.unwrap();
    client.shutdown().await.unwrap();
    assert_silent(&mut client).await;
    eventually(SOON, async || proxy.open() == 0).await;
    assert_eq!(
        echo(&mut connect(&proxy).await, "new").await.unwrap(),
        "new"
    );
}

#[tokio::test]
async fn black_hole_existing_silences_no_new_connection() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    assert_eq!(echo(&mut old, "a").await.unwrap(), "a");
    proxy.black_hole_existing();
    old.write_all(b"lost").await.unwrap();
    assert_silent(&mut old).await;
    assert_eq!(echo(&mut connect(&proxy).await, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn a_pipeline_takes_one_delay() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    proxy.delay(Duration::from_millis(200));
    let start = Instant::now();
    client.write_all(b"1").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.write_all(b"2").await.unwrap();
    assert_eq!(receive(&mut client).await.unwrap(), "1");
    assert_eq!(receive(&mut client).await.unwrap(), "2");
    let elapsed = start.elapsed().as_millis();
    assert!((250..390).contains(&elapsed), "{elapsed} ms");
}

/// How much later than after its delay a reply may arrive.
const EXACT: Duration = Duration::from_micros(900);

#[tokio::test]
async fn a_delay_is_exact_to_a_millisecond() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    for delay in [500, 2_500].map(Duration::from_micros) {
        proxy.delay(delay);
        let mut least_excess = Duration::MAX;
        // On a busy machine, most replies arrive later.
        for _ in 0..500 {
            let start = Instant::now();
            assert_eq!(echo(&mut client, "a").await.unwrap(), "a");
            let excess = start.elapsed().checked_sub(delay);
            least_excess = least_excess.min(excess.expect("no reply is early"));
            if least_excess < EXACT {
                break;
            }
        }
        assert!(least_excess < EXACT, "{least_excess:?}");
    }
}

#[tokio::test]
async fn delay_some_delays_some_replies_and_not_others() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    let latest = Duration::from_millis(100);
    proxy.delay_some(latest, 1);
    let mut took = Vec::new();
    for _ in 0..40 {
        let start = Instant::now();
        assert_eq!(echo(&mut client, "a").await.unwrap(), "a");
        took.push(start.elapsed());
    }
    took.sort();
    assert!(took[20] < latest / 4, "{took:?}");
    assert!(took[39] > latest / 2, "{took:?}");
    proxy.heal();
    assert_eq!(echo(&mut client, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn a_dropped_reply_silences_its_connection_only() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    proxy.drop_next_reply();
    client.write_all(b"a").await.unwrap();
    assert_silent(&mut client).await;
    client.write_all(b"b").await.unwrap();
    assert_silent(&mut client).await;
    assert_eq!(echo(&mut connect(&proxy).await, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn close_on_next_reply_closes_the_connection_without_the_reply() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    proxy.close_on_next_reply();
    assert_eq!(echo(&mut client, "a").await.unwrap(), "");
    assert_eq!(echo(&mut connect(&proxy).await, "b").await.unwrap(), "b");
}

#[tokio::test]
async fn a_silent_server_accepts_and_never_answers() {
    let silent = FaultProxy::silent();
    let mut client = connect(&silent).await;
    client.write_all(b"a").await.unwrap();
    assert_silent(&mut client).await;
    assert_eq!(silent.accepted(), 1);
}

#[tokio::test]
async fn a_refusing_port_refuses_connections() {
    let refusing = FaultProxy::refusing();
    let refused = TcpStream::connect(refusing.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn round_trips_bytes_and_commands_are_counted() {
    let proxy = proxy().await;
    let mut client = connect(&proxy).await;
    let two = "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nget\r\n$1\r\nk\r\n";
    echo(&mut client, two).await.unwrap();
    echo(&mut client, two).await.unwrap();
    assert_eq!(
        (proxy.round_trips(), proxy.commands()),
        (2, ["PING", "GET", "PING", "GET"].map(str::to_owned).into())
    );
    let bytes = 2 * two.len();
    assert_eq!(
        (proxy.bytes_from_clients(), proxy.bytes_from_server()),
        (bytes, bytes)
    );
    proxy.reset_counters();
    assert_eq!(
        (proxy.accepted(), proxy.open(), proxy.round_trips()),
        (0, 1, 0)
    );
}
