//! Downloads from servers that keep to nothing.

use super::*;
use ring::digest::{SHA256, digest};
use std::{
    fs,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Notify,
};

const DEADLINE: Duration = Duration::from_secs(20);

/// What a server answers, and then holds the connection until it is told to go on; `None`: closes it.
struct Answer {
    bytes: Vec<u8>,
    then: Option<Vec<u8>>,
}

struct Server {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
    closed: Arc<Notify>,
}

impl Server {
    /// Answers each request by its path.
    async fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, go_on, closed): (Arc<AtomicUsize>, Arc<Notify>, Arc<Notify>) = Default::default();
        let (counted, may, gone, answer) =
            (Arc::clone(&asked), Arc::clone(&go_on), Arc::clone(&closed), Arc::new(answer));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (counted, may, gone, answer) =
                    (Arc::clone(&counted), Arc::clone(&may), Arc::clone(&gone), Arc::clone(&answer));
                tokio::spawn(async move {
                    let mut request = vec![0; 2048];
                    let length = stream.read(&mut request).await.unwrap();
                    let request = String::from_utf8_lossy(&request[..length]).into_owned();
                    counted.fetch_add(1, Ordering::Relaxed);
                    let Answer { bytes, then } = answer(request.split(' ').nth(1).unwrap());
                    let _ = stream.write_all(&bytes).await;
                    let Some(rest) = then else { return };
                    let (mut reader, mut writer) = stream.split();
                    let mut nothing = [0; 1];
                    tokio::select! {
                        () = may.notified() => drop(writer.write_all(&rest).await),
                        _ = reader.read(&mut nothing) => gone.notify_one(),
                    }
                });
            }
        });
        Self { address, asked, go_on, closed }
    }

    fn fetch(&self, path: &str, contents: &[u8]) -> Fetch {
        Fetch::new(format!("http://{}{path}", self.address), sha256(contents))
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

fn sha256(contents: &[u8]) -> Sha256 {
    Sha256(digest(&SHA256, contents).as_ref().try_into().unwrap())
}

fn whole(contents: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", contents.len());
    Answer { bytes: [head.as_bytes(), contents].concat(), then: None }
}

fn redirect(to: &str) -> Answer {
    let bytes = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    Answer { bytes, then: None }
}

struct Bench {
    root: tempfile::TempDir,
    fetcher: Fetcher,
}

impl Bench {
    fn new(file: u64, all: u64, time: Duration) -> Self {
        let root = tempfile::tempdir().unwrap();
        let fetcher = Fetcher::new(Some(root.path().join("fetched")), FetchLimits { file, all, time });
        Self { root, fetcher }
    }

    fn roomy() -> Self {
        Self::new(1 << 20, 1 << 20, DEADLINE)
    }

    async fn get(&self, fetch: &Fetch) -> Result<Held, FetchFailure> {
        timeout(DEADLINE, self.fetcher.get(fetch, &|_| {})).await.expect("in time")
    }

    async fn refuse(&self, fetch: &Fetch) -> FetchFailure {
        let failure = self.get(fetch).await.map(|held| held.path().to_owned()).expect_err("it is refused");
        self.is_empty().await;
        failure
    }

    /// Waits until nothing is kept, unfinished or not: the disk is a thread behind.
    async fn is_empty(&self) {
        let empty = async {
            while !self.kept().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, empty).await.expect("nothing is kept of what was refused or given up");
    }

    /// Names of all files in the store, unfinished ones too.
    fn kept(&self) -> Vec<String> {
        let root = self.root.path().join("fetched");
        let names = |path: PathBuf| fs::read_dir(path).into_iter().flatten().map(|e| e.unwrap().file_name());
        let all = names(root.clone()).chain(names(root.join("tmp")));
        all.map(|name| name.into_string().unwrap()).filter(|name| name != "tmp").collect()
    }
}

fn lasting(failure: &FetchFailure, word: &str) {
    assert!(matches!(failure, FetchFailure::Lasting(why) if why.contains(word)), "{failure:?}");
}

fn passing(failure: &FetchFailure, word: &str) {
    assert!(matches!(failure, FetchFailure::Passing(why) if why.contains(word)), "{failure:?}");
}

#[tokio::test]
async fn a_file_is_downloaded_once_and_found_when_its_server_is_gone() {
    let bench = Bench::roomy();
    // The head promises all of it; the rest comes when it is told to.
    let slow = Server::start(|_| Answer {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel".into(),
        then: Some(b"lo".into()),
    })
    .await;
    let fetch = slow.fetch("/x", b"hello");
    let (one, other) = (bench.get(&fetch), bench.get(&fetch));
    let go_on = async {
        while slow.asked() == 0 {
            tokio::task::yield_now().await;
        }
        slow.go_on.notify_one();
    };
    let (one, other, ()) = tokio::join!(one, other, go_on);
    assert_eq!(fs::read(one.unwrap().path()).unwrap(), b"hello");
    assert_eq!(fs::read(other.unwrap().path()).unwrap(), b"hello");
    assert_eq!(slow.asked(), 1);
    let gone = Fetch::new("http://127.0.0.1:1/x", fetch.digest);
    assert_eq!(fs::read(bench.get(&gone).await.unwrap().path()).unwrap(), b"hello");
    let again = Fetcher::new(Some(bench.root.path().join("fetched")), FetchLimits { file: 9, all: 9, time: DEADLINE });
    again.get(&gone, &|_| {}).await.map(drop).expect("the next process finds it, too");
}

#[tokio::test]
async fn what_is_not_what_was_asked_for_is_not_kept() {
    let server = Server::start(|_| whole(b"evil")).await;
    let failure = Bench::roomy().refuse(&server.fetch("/x", b"good")).await;
    lasting(&failure, &format!("its SHA-256 is {}, and {} is expected", sha256(b"evil"), sha256(b"good")));
}

#[tokio::test]
async fn what_was_something_else_is_not_downloaded_again_for_minutes() {
    let server = Server::start(|_| whole(b"evil")).await;
    let bench = Bench::roomy();
    let fetch = server.fetch("/x", b"good");
    let first = bench.refuse(&fetch).await;
    assert_eq!((bench.refuse(&fetch).await, server.asked()), (first, 1));
    bench.refuse(&server.fetch("/y", b"good")).await;
    assert_eq!(server.asked(), 2, "another address");
    bench.get(&server.fetch("/x", b"evil")).await.map(drop).expect("what it gives is asked for by now");
    tokio::time::pause();
    tokio::time::advance(WRONG_FOR).await;
    tokio::time::resume();
    let again = bench.get(&fetch).await.map(drop).unwrap_err();
    lasting(&again, "is not what was asked for");
    assert_eq!(server.asked(), 4, "it may be mended by now");
}

#[tokio::test]
async fn what_is_too_much_by_now_goes_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let file = |contents: &[u8]| root.path().join(format!("sha256-{}", sha256(contents)));
    for contents in [b"older", b"newer"] {
        fs::write(file(contents), contents).unwrap();
    }
    let before = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    fs::File::options().write(true).open(file(b"older")).unwrap().set_modified(before).unwrap();
    fs::write(root.path().join("note"), "not ours").unwrap();
    let _fetcher = Fetcher::new(Some(root.path().into()), FetchLimits { file: 5, all: 9, time: DEADLINE });
    assert!(!file(b"older").exists() && file(b"newer").exists() && root.path().join("note").exists());
}

#[tokio::test]
async fn what_is_too_large_is_refused_whether_or_not_it_says_so() {
    let large = vec![7; 3000];
    let chunked =
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nbb8\r\n", &large[..], b"\r\n0\r\n\r\n"].concat();
    let server = Server::start(move |path| match path {
        "/said" => Answer { bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n".into(), then: Some(vec![]) },
        _ => Answer { bytes: chunked.clone(), then: None },
    })
    .await;
    let bench = Bench::new(2999, 1 << 20, DEADLINE);
    for path in ["/said", "/chunked"] {
        lasting(&bench.refuse(&server.fetch(path, &large)).await, "--fetch-max");
    }
    Bench::new(3000, 1 << 20, DEADLINE).get(&server.fetch("/chunked", &large)).await.map(drop).unwrap();
}

#[tokio::test]
async fn a_server_that_breaks_off_or_stalls_or_refuses_may_do_better_later() {
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start(move |path| match path {
        "/cut" => Answer { bytes: begun.into(), then: None },
        "/slow" => Answer { bytes: begun.into(), then: Some(vec![]) },
        "/none" => Answer { bytes: b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into(), then: None },
        _ => Answer { bytes: b"SSH-2.0-OpenSSH_9.2\r\n".into(), then: None },
    })
    .await;
    let (bench, hasty) = (Bench::roomy(), Bench::new(1 << 20, 1 << 20, Duration::from_millis(300)));
    passing(&hasty.refuse(&server.fetch("/slow", b"0123456789")).await, "too slow");
    for (path, word) in [("/cut", "broke off"), ("/none", "HTTP 404"), ("/ssh", "is not HTTP")] {
        passing(&bench.refuse(&server.fetch(path, b"0123456789")).await, word);
    }
    passing(&bench.refuse(&Fetch::new("http://127.0.0.1:1/x", sha256(b""))).await, "refused");
    let no_name = Fetch::new("http://no-such-host.invalid/x", sha256(b""));
    passing(&bench.refuse(&no_name).await, "no-such-host.invalid");
}

#[tokio::test]
async fn redirections_are_followed_but_not_for_ever() {
    let server = Server::start(|path| match path {
        "/a/first" => redirect("../second?x=1"),
        "/second?x=1" => whole(b"there"),
        "/far" => redirect("ftp://127.0.0.1/x"),
        _ => redirect("/loop"),
    })
    .await;
    let bench = Bench::roomy();
    passing(&bench.refuse(&server.fetch("/loop", b"there")).await, "more than 10 redirections");
    assert_eq!(server.asked(), 11);
    passing(&bench.refuse(&server.fetch("/far", b"there")).await, "neither http nor https");
    let held = bench.get(&server.fetch("/a/first", b"there")).await.unwrap();
    assert_eq!(fs::read(held.path()).unwrap(), b"there");
}

#[tokio::test]
async fn a_download_that_nobody_waits_for_is_given_up() {
    let bench = Bench::roomy();
    let server = Server::start(|_| Answer {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".into(),
        then: Some(vec![]),
    })
    .await;
    let fetch = server.fetch("/x", b"0123456789");
    let told = Mutex::new(vec![]);
    let tell = |words: String| lock(&told).push(words);
    let is_told = async {
        while !lock(&told).iter().any(|words| words == "fetching x: 0 of 1 MiB") {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = bench.fetcher.get(&fetch, &tell) => panic!("it never comes"),
        () = is_told => {}
    }
    timeout(DEADLINE, server.closed.notified()).await.expect("the connection is closed");
    bench.is_empty().await;
}

#[tokio::test]
async fn another_ones_broken_server_is_not_mine() {
    let bench = Bench::roomy();
    let broken = Server::start(|_| Answer { bytes: b"HTTP/1.1 503 No\r\n\r\n".into(), then: None }).await;
    let good = Server::start(|_| whole(b"hello")).await;
    let (one, other) = (broken.fetch("/x", b"hello"), good.fetch("/x", b"hello"));
    let (failed, held) = tokio::join!(bench.get(&one), bench.get(&other));
    assert!(held.is_ok() && (failed.is_err() || good.asked() == 1));
}

#[tokio::test]
async fn what_was_used_least_lately_makes_room_and_what_is_held_does_not() {
    let bench = Bench::new(10, 20, DEADLINE);
    let server = Server::start(|path| whole(path.repeat(5).as_bytes())).await;
    let fetch = |path: &str| server.fetch(path, path.repeat(5).as_bytes());
    let names = |bench: &Bench| bench.kept().len();
    drop(bench.get(&fetch("/a")).await.unwrap());
    drop(bench.get(&fetch("/b")).await.unwrap());
    drop(bench.get(&fetch("/a")).await.unwrap()); // used again
    drop(bench.get(&fetch("/c")).await.unwrap());
    let root = bench.root.path().join("fetched");
    let is_kept = |path: &str| root.join(format!("sha256-{}", sha256(path.repeat(5).as_bytes()))).exists();
    assert_eq!((is_kept("/a"), is_kept("/b"), is_kept("/c"), names(&bench)), (true, false, true, 2));
    let _held = bench.get(&fetch("/a")).await.unwrap();
    let _newest = bench.get(&fetch("/c")).await.unwrap();
    drop(bench.get(&fetch("/d")).await.unwrap());
    assert!(is_kept("/a") && is_kept("/c"), "two starts need them");
}

#[tokio::test]
async fn what_an_earlier_process_left_unfinished_goes() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("tmp")).unwrap();
    fs::write(root.path().join("tmp/0"), "half").unwrap();
    let limits = FetchLimits { file: 10, all: 10, time: DEADLINE };
    let fetcher = Fetcher::new(Some(root.path().into()), limits);
    assert!(!root.path().join("tmp").exists());
    assert_eq!(fetcher.unpacked_max(), 40);
    let nowhere = Fetcher::new(None, limits).get(&Fetch::new("http://127.0.0.1:1/x", sha256(b"")), &|_| {}).await;
    lasting(&nowhere.map(|_| ()).unwrap_err(), "no disk");
}
