//! The CDN: nginx-rtmp and the notification service.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::time::Duration;

use minijinja::{Environment, UndefinedBehavior, context};

use super::Folders;
use super::process::{Actor, Command, Output, Readiness, Stop};
use crate::plan::{HTTP_PORT, NOTIFY_PORT, Network, RTMP_APP, RTMP_PORT, SEGMENTS_PATH, Trial};

/// nginx's configuration, found by trying (nginx 1.22 with nginx-rtmp 1.2.2), so that every frame reaches every
/// viewer:
///
/// - One worker, or streams would be spread over several that do not know of each other. Its master is there for the sake of the
///   sockets that it inherits: without a master nginx ends with a segmentation fault as soon as it has taken them over (it looks for the
///   connection of the socket that was replaced, and only workers forget that one). Both stay in the foreground, in one process group.
/// - `out_queue`: messages that wait for one viewer. The default of 256 drops frames of a viewer whose link is slower than
///   the stream, and inter frames do so from the half of it on; so many cannot come together within a trial.
/// - `idle_streams on`: viewers may come before the broadcaster. As a consequence nginx does not close their connections when the
///   broadcaster leaves; `publish_notify on` tells them instead, in order behind the last frame, and players end.
///   (`idle_streams off` would cut them off and drop what is still queued.)
/// - `wait_key on`: who joins later begins with a keyframe. nginx keeps none: earlier frames are gone for them.
/// - `sync 0`, `buflen 0`: no frame is skipped or held back on purpose.
/// - `ping 0`, `timeout 1h`, `drop_idle_publisher 0`: an answer that takes long, because of seconds of queueing, is not taken for death.
/// - Nothing may be sent to the broadcaster while its last frames are on their way: ffmpeg closes its socket when it has
///   written everything, and TCP answers bytes that arrive for a closed socket with a reset that throws away what is still queued.
///   So no pings, and no window for acknowledgements that the stream could fill.
///
/// Where viewers fetch segments, nginx-rtmp makes them and nginx's own HTTP server gives them:
///
/// - `hls_fragment`: a segment ends with the first keyframe after that. `hls_playlist_length`: the playlist has the latest six, as by nginx-rtmp's defaults
///   (5 s and 30 s). nginx deletes what is older (`hls_cleanup`).
/// - nginx-rtmp never writes that a playlist has ended; a [program of livectl's](super::playlist) does. It and the segments are root's, as all else
///   in a trial: a worker that is nobody could not run what lies in a user's folder.
/// - A playlist is not to be kept by caches; there are none here, but players look at it.
///
/// nginx-rtmp writes with Nagle's algorithm and has no setting for it: the last, partial segment of a frame goes out
/// with the next frame while earlier data are unacknowledged. Whether that belongs to the delay through this CDN is
/// for the recipe to say: the sockets come from [`listen`](super::listen), with TCP_NODELAY unless it is switched
/// off.
const CONFIGURATION: &str = "\
daemon off;
master_process on;
worker_processes 1;
load_module {{ module }};
pid nginx.pid;
error_log stderr info;
{%- if segments %}
user root;
{%- endif %}

events { worker_connections 1024; }

rtmp {
    access_log access.log;
    server {
{%- for address in addresses %}
        listen {{ address }};
{%- endfor %}
        chunk_size 4096;
        max_message 16m;
        out_queue 65536;
        out_cork 1;
        ack_window 2000000000;
        ping 0;
        timeout 1h;
        buflen 0;
        application {{ application }} {
            live on;
            idle_streams on;
            publish_notify on;
            play_restart off;
            wait_key on;
            wait_video off;
            interleave off;
            sync 0;
            drop_idle_publisher 0;
{%- if segments %}
            hls on;
            hls_path \"{{ segments.folder }}\";
            hls_fragment {{ segments.length_ms }}ms;
            hls_playlist_length {{ segments.playlist_ms }}ms;
            exec_publish_done \"{{ segments.livectl }}\" internal end-playlist \"{{ segments.folder }}/$name.m3u8\";
{%- endif %}
        }
    }
}
{%- if segments %}

http {
    access_log http.log;
    server {
{%- for address in segments.addresses %}
        listen {{ address }};
{%- endfor %}
        tcp_nodelay on;
        location /{{ segments.path }}/ {
            alias \"{{ segments.folder }}/\";
            types {
                application/vnd.apple.mpegurl m3u8;
                video/mp2t ts;
            }
            add_header Cache-Control no-cache;
        }
    }
}
{%- endif %}
";

/// Segments in a playlist.
const PLAYLIST: u128 = 6;

/// Where Debian and Ubuntu install it.
const NGINX: &str = "/usr/sbin/nginx";
/// Where they install the module.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

/// The plan has no CDN, or its configuration cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CdnError {
    /// No host with that role.
    #[error("the plan has no CDN")]
    NoCdn,
    /// The template did not render.
    #[error("cannot write nginx's configuration: {0}")]
    Configuration(#[from] minijinja::Error),
}

/// How nginx makes segments.
#[derive(Debug, Clone, Copy)]
pub struct Segments<'a> {
    /// Of a segment, at least.
    pub length: Duration,
    /// Where they are made.
    pub folder: &'a Path,
    /// livectl's own program.
    pub livectl: &'a Path,
}

/// nginx's configuration for a server that listens on these addresses. Its paths are relative to nginx's prefix
/// (`-p`).
///
/// # Errors
/// When the template cannot be rendered.
pub fn configuration(addresses: &[Ipv4Addr], segments: Option<&Segments<'_>>) -> Result<String, CdnError> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let at = |port| -> Vec<String> { sockets(addresses, port).iter().map(ToString::to_string).collect() };
    let segments = segments.map(|Segments { length, folder, livectl }| {
        let length_ms = length.as_millis();
        let (folder, livectl) = (folder.to_string_lossy(), livectl.to_string_lossy());
        let playlist_ms = length_ms * PLAYLIST;
        context! { length_ms, playlist_ms, folder, livectl, path => SEGMENTS_PATH, addresses => at(HTTP_PORT) }
    });
    let values = context! { module => MODULE, addresses => at(RTMP_PORT), application => RTMP_APP, segments };
    Ok(environment.render_str(CONFIGURATION, values)?)
}

/// What nginx logs when its worker runs. That somebody listens says nothing: that is so before there is nginx.
const WORKING: &str = "start worker process ";
/// The master replaces a worker that has died, or gives up; all connections are lost either way.
const LOST: [&str; 2] = ["exited on signal", "exited with fatal code"];

/// nginx on the CDN.
///
/// # Errors
/// When the plan has no CDN.
pub fn nginx(trial: &Trial, folders: &Folders) -> Result<Actor, CdnError> {
    let (host, addresses) = host(&trial.network)?;
    let folder = folders.scratch.join(format!("{host}-nginx"));
    let file = folder.join("nginx.conf");
    let made = folder.join(SEGMENTS_PATH);
    let segments = Segments { length: trial.cdn.segment, folder: &made, livectl: &folders.livectl };
    let segments = trial.point.scheme.is_segmented().then_some(segments);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut args = vec!["internal".to_owned(), "listen".to_owned()];
    if trial.cdn.nodelay {
        args.push("--nodelay".into());
    }
    args.extend(sockets(&addresses, RTMP_PORT).iter().map(ToString::to_string));
    if segments.is_some() {
        args.extend(sockets(&addresses, HTTP_PORT).iter().map(ToString::to_string));
    }
    args.extend(["--".into(), NGINX.into()]);
    args.extend(["-p".into(), text(&folder), "-e".into(), "stderr".into(), "-c".into(), text(&file)]);
    Ok(Actor {
        name: "nginx".into(),
        station: host.into(),
        command: Command::new(folders.livectl.to_string_lossy(), args),
        folders: [folder.clone()].into_iter().chain(segments.map(|segments| segments.folder.to_owned())).collect(),
        files: vec![(file, configuration(&addresses, segments.as_ref())?)],
        output: Output::Log,
        log: folders.trial.log(host, "nginx"),
        ready: Readiness::LogLine(WORKING.into()),
        ready_within: Duration::from_secs(10),
        alarms: LOST.map(str::to_owned).to_vec(),
        stop: Stop::default(),
    })
}

/// The notification service on the CDN.
///
/// # Errors
/// When the plan has no CDN.
pub fn notification_service(trial: &Trial, folders: &Folders) -> Result<Actor, CdnError> {
    let (host, addresses) = host(&trial.network)?;
    let sockets = sockets(&addresses, NOTIFY_PORT);
    let listen = sockets.iter().flat_map(|address| ["--listen".to_owned(), address.to_string()]);
    let args = ["notify".to_owned()].into_iter().chain(listen);
    Ok(Actor {
        name: "notify".into(),
        station: host.into(),
        command: Command::new(folders.agent.to_string_lossy(), args),
        folders: Vec::new(),
        files: Vec::new(),
        output: Output::Log,
        log: folders.trial.log(host, "notify"),
        ready: Readiness::Listening(sockets),
        ready_within: Duration::from_secs(10),
        alarms: Vec::new(),
        stop: Stop::default(),
    })
}

fn host(network: &Network) -> Result<(&str, Vec<Ipv4Addr>), CdnError> {
    let cdn = network.cdn().ok_or(CdnError::NoCdn)?;
    Ok((&cdn.name, cdn.interfaces.iter().map(|interface| interface.address).collect()))
}

fn sockets(addresses: &[Ipv4Addr], port: u16) -> Vec<SocketAddrV4> {
    addresses.iter().map(|address| SocketAddrV4::new(*address, port)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::network::topology::tests::trial;
    use crate::plan::{Cdn, Interface};

    /// What is run on a CDN between two islands.
    fn command(nodelay: bool) -> String {
        let mut trial = trial();
        trial.cdn = Cdn { nodelay, ..Cdn::default() };
        let cdn = trial.network.hosts.iter_mut().find(|host| host.name == "hs").unwrap();
        let addresses = ["10.0.1.9", "10.0.2.9"].map(|address| address.parse().unwrap());
        let first = cdn.interfaces[0].clone();
        cdn.interfaces = addresses.map(|address| Interface { address, ..first.clone() }).to_vec();
        let folders = Folders {
            trial: crate::store::TrialDir::at(Path::new("/t")),
            scratch: "/s".into(),
            livectl: "livectl".into(),
            agent: "live-agent".into(),
        };
        nginx(&trial, &folders).unwrap().command.to_string()
    }

    #[test]
    fn nginx_inherits_a_socket_in_each_island_and_the_plan_says_which() {
        let rest =
            "10.0.1.9:1935 10.0.2.9:1935 -- /usr/sbin/nginx -p /s/hs-nginx -e stderr -c /s/hs-nginx/nginx.conf";
        assert_eq!(command(true), format!("livectl internal listen --nodelay {rest}"));
        assert_eq!(command(false), format!("livectl internal listen {rest}"));
    }

    #[test]
    fn segments_are_made_and_served_in_both_islands() {
        let addresses = ["10.0.1.9", "10.0.2.9"].map(|a| a.parse().unwrap());
        let (folder, livectl) = (Path::new("/s/hs-nginx/hls"), Path::new("/opt/live ctl/livectl"));
        let segments = Segments { length: Duration::from_millis(2500), folder, livectl };
        let text = configuration(&addresses, Some(&segments)).unwrap();
        for line in [
            "\nuser root;\n",
            "            hls_path \"/s/hs-nginx/hls\";\n            hls_fragment 2500ms;\n            hls_playlist_length 15000ms;\n",
            "exec_publish_done \"/opt/live ctl/livectl\" internal end-playlist \"/s/hs-nginx/hls/$name.m3u8\";",
            "        listen 10.0.1.9:80;\n        listen 10.0.2.9:80;\n",
            "        location /hls/ {\n            alias \"/s/hs-nginx/hls/\";\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!configuration(&addresses, None).unwrap().contains("hls"));
    }

    #[test]
    fn a_cdn_between_two_islands_listens_in_both() {
        let addresses = ["10.0.1.9", "10.0.2.9"].map(|a| a.parse().unwrap());
        let text = configuration(&addresses, None).unwrap();
        assert!(text.contains(
            "\n    server {\n        listen 10.0.1.9:1935;\n        listen 10.0.2.9:1935;\n        chunk_size"
        ));
        assert!(text.contains("application live {"));
    }
}
