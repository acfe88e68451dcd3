//! Restate: a service's handler of five journaled steps. The server is a process of its own with a log
//! of its own, started here and ended with this program; the database is not used. Runs are called
//! over its ingress, and each step's output is in the log before the next begins.

use std::net::TcpListener as Probe;
use std::process::Stdio;
use std::time::{Duration, Instant};

use reqwest::Client;
use restate_sdk::ingress::ReqwestClient;
use restate_sdk::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use work::{Failure, Input, Output, STEPS, arguments, count_right, done, input, output, ready};

const SERVER: &str = "restate-server";
const AT_ONCE: usize = 256;
/// Two for each core: with the 24 of its default it is slower on this kind of machine.
const PARTITIONS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

struct Linear;

#[service]
impl Linear {
    #[handler]
    async fn five(&self, cx: Context<'_>, input: Json<Input>) -> HandlerResult<Json<Output>> {
        let input = input.into_inner();
        let mut last = Output { text: String::new() };
        for name in STEPS {
            let given = output(name, &input);
            let step = cx.run(|| async move { Ok(Json(given)) }).name(name);
            last = step.await?.into_inner();
        }
        Ok(Json(last))
    }
}

/// A server on an empty folder, which goes with it.
struct Server {
    process: Child,
    _folder: TempDir,
    ingress: String,
    admin: String,
}

impl Server {
    fn start() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let [node, ingress, admin] = [free_port()?, free_port()?, free_port()?];
        let process = Command::new(SERVER)
            .arg("--no-logo")
            .args(["--log-filter", "off", "--listen-mode", "tcp", "--bind-ip", "127.0.0.1"])
            .arg("--base-dir")
            .arg(folder.path())
            .args(["--bind-port", &node.to_string()])
            .env("RESTATE_INGRESS__BIND_PORT", ingress.to_string())
            .env("RESTATE_ADMIN__BIND_PORT", admin.to_string())
            .env("RESTATE_DEFAULT_NUM_PARTITIONS", PARTITIONS.to_string())
            .env("RESTATE_DISABLE_TELEMETRY", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{SERVER}: {error}; see README.md beside this program"))?;
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        Ok(Self { process, _folder: folder, ingress: at(ingress), admin: at(admin) })
    }

    /// Tells it where the service is, as soon as it answers.
    async fn register(&self, service: &str) -> Result<(), Failure> {
        let (client, begun) = (Client::new(), Instant::now());
        let deployments = format!("{}/deployments", self.admin);
        loop {
            let asked = client.post(&deployments).json(&json!({ "uri": service })).send().await;
            match asked.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

fn free_port() -> Result<u16, Failure> {
    Ok(Probe::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Whether a run gave what it should.
async fn run(client: ReqwestClient, n: usize) -> Result<bool, Failure> {
    let input = input(n);
    let wanted = output("s5", &input);
    let linear = LinearIngressClient::from_client(client);
    Ok(linear.five(Json(input)).call().await?.into_body()?.into_inner() == wanted)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let (_, runs) = arguments()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let service = format!("http://{}", listener.local_addr()?);
    let endpoint = Endpoint::builder().bind(Linear).build();
    tokio::spawn(HttpServer::new(endpoint).serve(listener));
    let mut server = Server::start()?;
    server.register(&service).await?;
    let client = ReqwestClient::connect(server.ingress.parse()?)?;
    // The first one waits until all partitions have a leader.
    run(client.clone(), 0).await?;
    ready()?;
    let right = count_right(runs, AT_ONCE, |n| run(client.clone(), n)).await?;
    done(right, runs)?;
    Ok(server.process.kill().await?)
}
