//! Real programs on loopback: nginx-rtmp, ffmpeg, mplayer, rtmpdump and the agents between them.
// Each test program uses a part of it.
#![allow(dead_code)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use livectl_wire::agent_event::{Event, Line};
use livectl_wire::birth::{Birth, BirthKind, HEADER};
use livectl_wire::flv::{Content, MAX_PAYLOAD, Reader, TagKind};
use livectl_wire::frame::FrameId;

pub mod introducer;
pub mod parent;
pub mod relay;

/// No single step of these tests takes as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// nginx-rtmp as livectl configures it (src/actor/cdn.rs), with the socket that livectl hands it
/// (src/actor/listen.rs).
const NGINX: &str = "
daemon off; master_process on; worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
pid nginx.pid; error_log stderr info;
events { worker_connections 1024; }
rtmp { access_log access.log; server {
    listen ADDRESS; chunk_size 4096; max_message 16m; out_queue 65536; out_cork 1; ack_window 2000000000;
    ping 0; timeout 1h; buflen 0;
    application live { live on; idle_streams on; publish_notify on; play_restart off; wait_key on; wait_video off;
        interleave off; sync 0; drop_idle_publisher 0; }
} }
";

/// A CDN and a folder.
pub struct Stage {
    pub folder: tempfile::TempDir,
    pub cdn: SocketAddrV4,
    nginx: Option<Nginx>,
}

/// A master, which takes its worker with it when it is asked to end.
struct Nginx(Running);

/// A process that ends with this.
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
}

/// An agent and what it says.
pub struct Agent {
    pub process: Running,
    lines: Receiver<Line>,
    pub seen: Vec<Line>,
    /// Where it waits for its program or player.
    pub listen: SocketAddrV4,
    /// Where it serves peers.
    pub peers: Option<SocketAddrV4>,
}

/// What a program publishes.
#[derive(Clone, Copy)]
pub struct Clip {
    pub frames: u32,
    pub codec: &'static str,
    pub pictures: bool,
    pub sound: bool,
}

pub const FLV1: Clip = Clip { frames: 150, codec: "flv1", pictures: true, sound: false };
pub const H264: Clip = Clip { frames: 150, codec: "libx264", pictures: true, sound: true };

/// An address of loopback with a free port.
pub fn free(ip: &str) -> SocketAddrV4 {
    match TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => unreachable!(),
    }
}

/// The socket, with TCP_NODELAY for its connections.
fn without_delay(listener: TcpListener) -> TcpListener {
    listener.set_nonblocking(true).unwrap();
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and `on` outlives the call.
    let set = unsafe {
        let (value, len) = (std::ptr::from_ref(&on).cast(), size_of::<libc::c_int>() as libc::socklen_t);
        libc::setsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, value, len)
    };
    assert_eq!(set, 0);
    listener
}

/// Waits until that is so.
pub fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Running {
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let file = std::fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stderr(file.try_clone().unwrap());
        let child = command.spawn().unwrap_or_else(|why| panic!("{name}: {why}"));
        Self { name: name.into(), child, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it ends by itself.
    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "waiting for the end of {}\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn succeeds(&mut self) {
        let status = self.exit();
        assert!(status.success(), "{}: {status}\n{}", self.name, self.log());
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Seconds of processor time so far, and KiB of memory.
    pub fn cost(&self) -> (f64, u64) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // After the name, which may hold anything: utime and stime are the 12th and 13th field, in ticks of 10 ms.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        (ticks / 100.0, line.split_whitespace().nth(1).unwrap().parse().unwrap())
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: a child that has not been waited for.
        unsafe { libc::kill(self.pid(), signal) };
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.0.signal(libc::SIGTERM);
        let _ = self.0.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Stage {
    pub fn new() -> Self {
        // It has the port from the beginning: one that was merely seen to be free may be somebody else's by then.
        let listener = TcpListener::bind(("127.0.0.9", 0)).unwrap();
        let SocketAddr::V4(cdn) = listener.local_addr().unwrap() else { unreachable!() };
        let mut stage = Self { folder: tempfile::tempdir().unwrap(), cdn, nginx: None };
        stage.start_cdn_at(listener);
        stage
    }

    /// The CDN has an address, and nobody is there.
    pub fn without_cdn() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), cdn: free("127.0.0.9"), nginx: None }
    }

    /// At RTMP's own port, as captures are read.
    pub fn at_rtmp_port() -> Self {
        let mut stage = Self { cdn: SocketAddrV4::new([127, 0, 0, 9].into(), 1935), ..Self::without_cdn() };
        stage.start_cdn();
        stage
    }

    pub fn start_cdn(&mut self) {
        self.start_cdn_at(TcpListener::bind(self.cdn).unwrap());
    }

    fn start_cdn_at(&mut self, listener: TcpListener) {
        let folder = self.folder.path().join("nginx");
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("nginx.conf");
        std::fs::write(&file, NGINX.replace("ADDRESS", &self.cdn.to_string())).unwrap();
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(&folder).args(["-e", "stderr", "-c"]).arg(&file);
        let socket = without_delay(listener);
        let descriptor = socket.as_raw_fd();
        command.env("NGINX", format!("{descriptor};"));
        // SAFETY: a system call, and nothing else, between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if libc::fcntl(descriptor, libc::F_SETFD, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let nginx =
            self.nginx.insert(Nginx(Running::start("nginx", &mut command, self.folder.path().join("nginx.log"))));
        wait_for("nginx", || nginx.0.log().contains("start worker process "));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn agent(&self, name: &str, args: &[&str]) -> Agent {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-agent"));
        command.args(args).stdout(Stdio::piped());
        let mut process = Running::start(name, &mut command, self.path(&format!("{name}.log")));
        let stdout = process.child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str::<Line>(&line).unwrap_or_else(|why| panic!("{line}: {why}"));
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let mut agent =
            Agent { process, lines, seen: Vec::new(), listen: SocketAddrV4::new(0.into(), 0), peers: None };
        let (listen, peers) = agent.find("ready", |event| match event {
            Event::Ready { listen, address } => Some((*listen, *address)),
            _ => None,
        });
        (agent.listen, agent.peers) = (listen.unwrap(), peers);
        agent
    }

    /// Of the stream live/hb; births go to births.csv.
    pub fn broadcaster(&self, more: &[&str]) -> Agent {
        self.broadcaster_to(self.cdn, more)
    }

    pub fn broadcaster_to(&self, cdn: SocketAddrV4, more: &[&str]) -> Agent {
        let (cdn, births) = (cdn.to_string(), self.path("births.csv").to_string_lossy().into_owned());
        let port = if self.cdn.port() == 1935 { 1935 } else { 0 };
        let listen = format!("127.0.0.1:{port}");
        let args = ["broadcaster", "--stream", "live/hb", "--cdn", &cdn, "--listen", &listen];
        self.agent("broadcaster", &[&args, &["--peers", "127.0.0.1:0", "--births", &births][..], more].concat())
    }

    pub fn viewer(&self, more: &[&str]) -> Agent {
        self.viewer_of(self.cdn, more)
    }

    pub fn viewer_of(&self, cdn: SocketAddrV4, more: &[&str]) -> Agent {
        let cdn = cdn.to_string();
        let port = if self.cdn.port() == 1935 { 1935 } else { 0 };
        let listen = format!("127.0.0.2:{port}");
        let args = ["viewer", "--stream", "live/hb", "--cdn", &cdn, "--listen", &listen];
        self.agent("viewer", &[&args, more].concat())
    }

    /// ffmpeg that publishes there.
    pub fn program(&self, name: &str, to: SocketAddrV4, stream: &str, clip: Clip) -> Running {
        let seconds = format!("{:.3}", f64::from(clip.frames) / 30.0);
        let mut args: Vec<String> =
            ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "error"].map(String::from).into();
        if clip.pictures {
            args.extend(["-f", "lavfi", "-fpsprobesize", "0", "-i"].map(String::from));
            args.push("testsrc2=size=320x180:rate=30,format=yuv420p,realtime".into());
        }
        if clip.sound {
            // Alone it has to be held back itself.
            let pace = if clip.pictures { "" } else { ",arealtime" };
            args.extend(["-f".into(), "lavfi".into(), "-i".into()]);
            args.push(format!("sine=frequency=440:sample_rate=44100:duration={seconds}{pace}"));
            args.extend(["-c:a", "aac", "-b:a", "96000"].map(String::from));
        }
        if clip.pictures {
            args.extend(["-frames:v".into(), clip.frames.to_string(), "-c:v".into(), clip.codec.into()]);
            if clip.codec == "libx264" {
                args.extend(["-preset", "ultrafast", "-tune", "zerolatency", "-sc_threshold", "0"].map(String::from));
            }
            args.extend(
                ["-b:v", "800000", "-maxrate", "800000", "-bufsize", "200000", "-g", "30", "-bf", "0"]
                    .map(String::from),
            );
        }
        args.extend(["-flvflags", "no_duration_filesize", "-f", "flv"].map(String::from));
        args.push(format!("rtmp://{to}/live/{stream}"));
        let mut command = Command::new("ffmpeg");
        Running::start(name, command.args(args).stdout(Stdio::null()), self.path(&format!("{name}.log")))
    }

    /// mplayer that dumps what it plays from there.
    pub fn mplayer(&self, name: &str, from: SocketAddrV4) -> Running {
        let plain = ["-quiet", "-noconfig", "all", "-nolirc", "-nojoystick", "-noconsolecontrols", "-nocache"];
        let mut command = Command::new("mplayer");
        command.args(plain).args(["-dumpstream", "-dumpfile"]).arg(self.path(&format!("{name}.flv")));
        command.arg(format!("rtmp://{from}/live/hb")).env("HOME", self.folder.path()).env("TERM", "dumb");
        Running::start(name, command.stdout(Stdio::null()), self.path(&format!("{name}.log")))
    }

    /// rtmpdump, which is another implementation of RTMP (librtmp).
    pub fn rtmpdump(&self, name: &str, from: SocketAddrV4) -> Running {
        let mut command = Command::new("rtmpdump");
        command.args(["--live", "--timeout", "60", "-r"]).arg(format!("rtmp://{from}/live/hb")).arg("-o");
        command.arg(self.path(&format!("{name}.flv")));
        Running::start(name, command.stdout(Stdio::null()), self.path(&format!("{name}.log")))
    }

    pub fn births(&self) -> Vec<Birth> {
        let text = std::fs::read_to_string(self.path("births.csv")).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEADER));
        lines.map(|line| line.parse().unwrap()).collect()
    }

    pub fn dump(&self, name: &str) -> Dump {
        Dump::of(&self.path(&format!("{name}.flv")))
    }
}

impl Agent {
    /// Waits for an event and says what was looked for in it. What was seen is looked at first.
    pub fn find<T>(&mut self, what: &str, is: impl Fn(&Event) -> Option<T>) -> T {
        if let Some(found) = self.seen.iter().find_map(|line| is(&line.event)) {
            return found;
        }
        self.next(what, is)
    }

    /// The same among what has not been seen.
    pub fn next<T>(&mut self, what: &str, is: impl Fn(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("waiting for {what}; so far {:#?}\n{}", self.seen, self.process.log());
            };
            let found = is(&line.event);
            self.seen.push(line);
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Waits for such an event.
    pub fn until(&mut self, what: &str, is: impl Fn(&Event) -> bool) {
        self.find(what, |event| is(event).then_some(()));
    }

    /// Waits for it to end by itself, and takes in its last events.
    pub fn ends(&mut self) {
        self.process.succeeds();
        self.seen.extend(self.lines.iter());
    }

    pub fn has(&self, is: impl Fn(&Event) -> bool) -> bool {
        self.seen.iter().any(|line| is(&line.event))
    }

    pub fn count(&self, is: impl Fn(&Event) -> bool) -> usize {
        self.seen.iter().filter(|line| is(&line.event)).count()
    }
}

/// What a player has dumped.
#[derive(Debug)]
pub struct Dump {
    /// Pictures and sounds with their timestamps, in order.
    pub elements: Vec<(TagKind, u32, FrameId)>,
    /// The file ends within a tag, as mplayer's do when fewer than 2048 bytes are left after the last whole block of
    /// so many.
    pub cut: bool,
}

impl Dump {
    pub fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (mut elements, mut reader) = (Vec::new(), Reader::new(MAX_PAYLOAD));
        let read = reader.push(&bytes, |tag| {
            if matches!(tag.content(), Content::Picture { .. } | Content::Sound) {
                elements.push((tag.kind, tag.timestamp, FrameId::of(tag.payload)));
            }
        });
        read.unwrap();
        Self { elements, cut: reader.tail().is_some() }
    }

    /// All that was born from there on, once, in order and with the timestamps that it was born with; a player may
    /// have cut the last.
    pub fn is_all_of(&self, births: &[Birth]) {
        let born: Vec<_> = births.iter().filter_map(born).collect();
        let start = born.iter().position(|element| Some(element) == self.elements.first());
        let expected = born.get(start.expect("the first element of the dump was born")..).unwrap();
        self.is(expected);
    }

    /// All that was born, from the first on.
    pub fn is_everything_of(&self, births: &[Birth]) {
        let born: Vec<_> = births.iter().filter_map(born).collect();
        self.is(&born);
    }

    fn is(&self, expected: &[(TagKind, u32, FrameId)]) {
        let whole = expected.len() - usize::from(self.cut && self.elements.len() + 1 == expected.len());
        for (n, (a, b)) in self.elements.iter().zip(expected).enumerate() {
            assert_eq!(a, b, "element {n} of {} (expected {whole})", self.elements.len());
        }
        assert_eq!(self.elements.len(), whole);
    }

    /// In the order of birth and nothing twice; says how many of those born after the first are missing.
    pub fn missing_of(&self, births: &[Birth]) -> usize {
        self.absent_of(births) - usize::from(self.cut)
    }

    /// The same of a player that was given padding, so that nothing but that is cut.
    pub fn absent_of(&self, births: &[Birth]) -> usize {
        let born: Vec<_> = births.iter().filter_map(born).collect();
        let places: Vec<usize> =
            self.elements.iter().map(|e| born.iter().position(|b| b == e).expect("it was born")).collect();
        assert!(places.is_sorted_by(|a, b| a < b), "in order and once");
        let first = places.first().copied().unwrap_or(0);
        born.len() - first - places.len()
    }
}

fn born(birth: &Birth) -> Option<(TagKind, u32, FrameId)> {
    let kind = match birth.kind {
        BirthKind::Video => TagKind::Video,
        BirthKind::Audio => TagKind::Audio,
        BirthKind::Script | BirthKind::Codec => return None,
    };
    Some((kind, birth.timestamp_ms, birth.id))
}
