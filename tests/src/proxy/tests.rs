//! The proxy before a server that sends back what it gets, in frames of Kafka's form.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};

use super::*;

/// Waits no longer than this for bytes that must not come. Nothing passes a proxy of its own accord.
const SILENCE: Duration = Duration::from_millis(150);

fn echo_server() -> u16 {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the test process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut stream));
        }
    });
    port
}

fn proxy() -> Proxy {
    Proxy::before(echo_server(), Protocol::Kafka).unwrap()
}

fn client(proxy: &Proxy) -> StdStream {
    let stream = StdStream::connect(("127.0.0.1", proxy.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Twelve bytes: a request of another kind than Produce.
fn frame(number: u8) -> [u8; 12] {
    [0, 0, 0, 8, 0, 3, 0, 0, 0, 0, 0, number]
}

fn exchange(stream: &mut StdStream, number: u8) {
    stream.write_all(&frame(number)).unwrap();
    let mut back = [0; 12];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, frame(number));
}

#[tokio::test]
async fn a_blackhole_swallows_nothing_for_good_and_tells_nobody() {
    let proxy = proxy();
    let mut old = client(&proxy);
    exchange(&mut old, 1);
    proxy.blackhole();
    let mut new = client(&proxy);
    for (stream, number) in [(&mut old, 2), (&mut new, 3)] {
        stream.write_all(&frame(number)).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let error = stream.read(&mut [0; 12]).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            "{error}"
        );
    }
    proxy.heal().unwrap();
    for (stream, number) in [(&mut old, 2), (&mut new, 3)] {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut back = [0; 12];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, frame(number));
    }
}

#[tokio::test]
async fn a_stranded_connection_stays_so_and_new_ones_work() {
    let proxy = proxy();
    let mut old = client(&proxy);
    exchange(&mut old, 1);
    assert_eq!(proxy.strand(Who::All), 1);
    proxy.heal().unwrap();
    old.write_all(&frame(2)).unwrap();
    old.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(old.read(&mut [0; 12]).is_err());
    exchange(&mut client(&proxy), 3);
}

#[tokio::test]
async fn connections_end_with_fin_or_rst() {
    let proxy = proxy();
    let mut stream = client(&proxy);
    exchange(&mut stream, 1);
    assert_eq!(proxy.cut(Who::All, Ending::Close), 1);
    assert_eq!(stream.read(&mut [0; 12]).unwrap(), 0);
    let mut stream = client(&proxy);
    exchange(&mut stream, 1);
    proxy.cut(Who::All, Ending::Reset);
    assert_eq!(
        stream.read(&mut [0; 12]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
}

#[tokio::test]
async fn an_armed_cut_lets_exactly_so_many_bytes_pass() {
    let proxy = proxy();
    let mut stream = client(&proxy);
    exchange(&mut stream, 1);
    let armed = proxy.arm(
        Who::All,
        Fault::CutAfter {
            direction: Direction::ToClient,
            bytes: 17,
            ending: Ending::Close,
        },
    );
    stream.write_all(&[frame(2), frame(3)].concat()).unwrap();
    armed.happened().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, [&frame(2)[..], &frame(3)[..5]].concat());
    exchange(&mut client(&proxy), 4);
}

#[tokio::test]
async fn nobody_is_let_in_and_those_inside_stay() {
    let proxy = proxy();
    let mut inside = client(&proxy);
    exchange(&mut inside, 1);
    proxy.refuse().unwrap();
    let error = StdStream::connect(("127.0.0.1", proxy.port())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    exchange(&mut inside, 2);
    proxy.heal().unwrap();
    exchange(&mut client(&proxy), 3);
    assert_eq!(proxy.accepted(), 2);
}

#[tokio::test]
async fn slow_and_late_bytes_are_the_same_bytes() {
    let proxy = proxy();
    let mut stream = client(&proxy);
    proxy.throttle(240);
    proxy.delay(Duration::from_millis(5));
    let begun = std::time::Instant::now();
    exchange(&mut stream, 1);
    assert!(
        begun.elapsed() >= Duration::from_millis(100),
        "two pieces at least take two turns"
    );
    proxy.heal().unwrap();
    exchange(&mut stream, 2);
}

#[tokio::test]
async fn a_fault_that_is_disarmed_says_so() {
    let proxy = proxy();
    let armed = proxy.arm(Who::All, Fault::CutInside(FrameKind::ProduceRequest, Ending::Reset));
    proxy.heal().unwrap();
    assert!(armed.happened().await.unwrap_err().to_string().contains("disarmed"));
}
