use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use serde_json::Value;

use super::answer::{Answer, failed};
use super::error::with_type;

/// An answer as server-sent events, each as soon as it is there.
pub(super) fn stream(answer: Answer) -> Response<Body> {
    let events = Events { answer, ready: VecDeque::new(), done: false };
    let mut response = with_type(StatusCode::OK, "text/event-stream", Body::new(events));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

struct Events {
    answer: Answer,
    ready: VecDeque<Bytes>,
    done: bool,
}

impl Events {
    fn push(&mut self, value: &Value) {
        self.ready.push_back(format!("data: {value}\n\n").into());
    }

    fn end(&mut self) {
        self.done = true;
        self.ready.push_back(Bytes::from_static(b"data: [DONE]\n\n"));
    }
}

impl HttpBody for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.done {
                return Poll::Ready(None);
            }
            let event = ready!(self.answer.events.poll_recv(context));
            let delta = match event {
                Some((index, event)) => self.answer.delta(index, event),
                None => Err(failed()),
            };
            match delta {
                Ok(Some(delta)) => {
                    let part = self.answer.part(delta);
                    self.push(&part);
                }
                Ok(None) => {}
                Err(error) => {
                    self.push(&error.body());
                    self.end();
                    continue;
                }
            }
            if self.answer.is_done() {
                if self.answer.include_usage {
                    let part = self.answer.usage_part();
                    self.push(&part);
                }
                self.end();
            }
        }
    }
}
