//! The HTTP interface of the Runtime API: translates requests on its four routes into messages to the supervisor.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use super::event::{Delivery, Event};
use super::invocation::Outcome;
use crate::http_server;

const ROOT: &str = "/2018-06-01/runtime/";

/// Serves the Runtime API to one process until this future is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    instance: u64,
    events: mpsc::UnboundedSender<Event>,
) {
    let respond = move |request| {
        let events = events.clone();
        async move { Ok::<_, Infallible>(respond(request, instance, events).await) }
    };
    http_server::serve(listener, respond).await;
}

async fn respond(
    request: Request<Incoming>,
    instance: u64,
    events: mpsc::UnboundedSender<Event>,
) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let route = parts.uri.path().strip_prefix(ROOT).unwrap_or_default();
    let route: Vec<&str> = route.split('/').collect();
    // An incomplete body means that the process is ending.
    let read = async || {
        body.collect()
            .await
            .map(|body| body.to_bytes())
            .unwrap_or_default()
    };
    let event = match (parts.method, &route[..]) {
        (Method::GET, ["invocation", "next"]) => {
            let (poll, delivery) = oneshot::channel();
            send(&events, Event::Next { instance, poll });
            return match delivery.await {
                Ok(delivery) => deliver(delivery),
                // The supervisor drops a request for work only if the instance has ended, so no answer is needed.
                Err(_) => std::future::pending().await,
            };
        }
        (Method::POST, ["invocation", id, "response"]) => {
            let outcome = Outcome::Answered(read().await);
            Event::Settled {
                instance,
                id: (*id).to_owned(),
                outcome,
                at: Instant::now(),
            }
        }
        (Method::POST, ["invocation", id, "error"]) => {
            let outcome = failed(&read().await);
            Event::Settled {
                instance,
                id: (*id).to_owned(),
                outcome,
                at: Instant::now(),
            }
        }
        (Method::POST, ["init", "error"]) => {
            let error = String::from_utf8_lossy(&read().await).into_owned();
            Event::InitError { instance, error }
        }
        _ => return status(StatusCode::NOT_FOUND),
    };
    send(&events, event);
    status(StatusCode::ACCEPTED)
}

fn failed(body: &[u8]) -> Outcome<Bytes> {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |member: &str| error[member].as_str().unwrap_or_default().to_owned();
    Outcome::FunctionError {
        error_type: text("errorType"),
        message: text("errorMessage"),
    }
}

fn deliver(delivery: Delivery) -> Response<ResponseBody> {
    Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &delivery.id)
        .header("lambda-runtime-invocation-id", &delivery.id)
        .header("lambda-runtime-deadline-ms", delivery.deadline_ms)
        .header("lambda-runtime-invoked-function-arn", delivery.function_arn)
        .header(
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        )
        .body(ResponseBody {
            content: Some(delivery.payload),
            _written: Some(delivery.written),
        })
        .expect("an id, a number and an ARN are valid header values")
}

fn status(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody {
        content: None,
        _written: None,
    });
    *response.status_mut() = status;
    response
}

fn send(events: &mpsc::UnboundedSender<Event>, event: Event) {
    // Sending fails only if the supervisor has ended. Then the message is not needed.
    let _ = events.send(event);
}

/// A body that signals when the server has written it. The server drops the body in the same step that writes the body to the
/// socket. Other tasks of this single-threaded runtime run only after that step. Other threads can get the signal before the end
/// of the step.
struct ResponseBody {
    content: Option<Bytes>,
    _written: Option<oneshot::Sender<()>>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.content.take().map(|content| Ok(Frame::data(content))))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content.as_ref().map_or(0, Bytes::len) as u64)
    }
}
