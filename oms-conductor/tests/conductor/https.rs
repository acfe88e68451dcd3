//! A server at an https address.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use oms_conductor::{Conductor, Error};
use oms_engine::testkit::TestDatabase;
use oms_engine::{Engine, StartRequest, WorkflowDef, WorkflowStatus, WorkflowTask};
use oms_server::{Server, Settings, Tls, serve};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::world::{until, work, work_def};

static MADE: AtomicUsize = AtomicUsize::new(0);

/// An authority of one's own: its certificate, and one that it gave to these names with its key.
fn certificates(names: &[&str]) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let given = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    (authority, given.pem(), key.serialize_pem())
}

async fn server(database: &TestDatabase, certificate: &str, key: &str) -> (Engine, Server) {
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let folder = format!("oms-conductor-{}-{number}", std::process::id());
    let folder = std::env::temp_dir().join(folder);
    std::fs::create_dir(&folder).unwrap();
    let files = [folder.join("cert.pem"), folder.join("key.pem")];
    for (file, text) in files.iter().zip([certificate, key]) {
        std::fs::write(file, text).unwrap();
    }
    let mut settings = Settings::default();
    let [certificate, key] = files;
    settings.tls = Some(Tls::from_files(&certificate, &key).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    let engine = Engine::builder(database.url()).build().await.unwrap();
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let server = serve(engine.clone(), anywhere, settings).await.unwrap();
    (engine, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_worked_on_over_tls_with_an_authority_of_ones_own() {
    let database = TestDatabase::migrated().await.unwrap();
    let (authority, certificate, key) = certificates(&["localhost"]);
    let (engine, server) = server(&database, &certificate, &key).await;
    let address = format!("https://localhost:{}", server.address().port());
    let conductor = Conductor::builder(&address).ca_certs(authority).build().unwrap();
    let line = WorkflowDef::builder("line")
        .task(WorkflowTask::simple("work", "work").input("n", "${workflow.input.n}"));
    conductor.register(&[work_def(600)], &[line.build().unwrap()]).await.unwrap();
    let worker = oms_conductor::Worker::builder(conductor)
        .task(work(|_| Box::pin(async { Ok(json!({})) })))
        .start()
        .unwrap();
    let start = StartRequest::new("line").input(json!({ "n": 7 }));
    let id = engine.start(start).await.unwrap().id;
    until("the run's end", async || {
        engine.get(id).await.unwrap().status == WorkflowStatus::Completed
    })
    .await;
    worker.stop(std::time::Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_or_another_name_is_refused() {
    let database = TestDatabase::migrated().await.unwrap();
    let (authority, certificate, key) = certificates(&["conductor.internal"]);
    let (_engine, server) = server(&database, &certificate, &key).await;
    let address = format!("https://localhost:{}", server.address().port());
    for (trusted, said) in
        [(Vec::new(), "UnknownIssuer"), (authority.into_bytes(), "NotValidForName")]
    {
        let conductor = Conductor::builder(&address).ca_certs(trusted).build().unwrap();
        let refused = conductor.register(&[work_def(600)], &[]).await.unwrap_err();
        assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
        assert!(format!("{refused:?} {refused}").contains(said), "{refused:?}");
    }
}

#[test]
fn certificates_that_are_none_are_refused() {
    let build = |address: &str, pem: &str| Conductor::builder(address).ca_certs(pem).build();
    let refused = build("https://localhost", "no certificate").unwrap_err();
    assert!(refused.to_string().contains("no certificate"), "{refused}");
    let (authority, ..) = certificates(&["localhost"]);
    let refused = build("http://localhost", &authority).unwrap_err();
    assert!(refused.to_string().contains("without https"), "{refused}");
}
