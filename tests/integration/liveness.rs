//! `GET /api/health`: answers without any request to a store.

use harness::{FaultProxy, Lambda};

#[tokio::test]
async fn liveness_does_no_io() {
    let backend = FaultProxy::silent();
    let lambda = Lambda::function("health")
        .env("REDIS_URL", &format!("redis://{}", backend.address()))
        .env("MONGODB_URI", &format!("mongodb://{}", backend.address()))
        .start()
        .await;

    let answer = lambda.get("/api/health").await;

    assert_eq!(answer.status, 200);
    insta::assert_snapshot!(answer.text(), @r#"{"status":"healthy","service":"truebond","version":"1.0.0","environment":"development"}"#);
    assert_eq!(backend.accepted(), 0);
}

#[tokio::test]
async fn liveness_shows_service_and_environment() {
    let lambda = Lambda::function("health")
        .env("SERVICE_NAME", "loveline")
        .env("ENVIRONMENT", "staging")
        .start()
        .await;

    let answer = lambda.get("/api/health").await;

    insta::assert_snapshot!(answer.text(), @r#"{"status":"healthy","service":"loveline","version":"1.0.0","environment":"staging"}"#);
}
