// A function on AWS's own Rust library, as `provided.al2023` runs it.
use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::{json, Value};

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    if event.payload["do"] == "fail" {
        return Err("Error: \"some_error_msg\"".into());
    }
    if let Some(message) = event.payload["error_msg"].as_str() {
        return Err(format!("Error: {message:?}").into());
    }
    println!("from rust");
    Ok(json!({"got": event.payload, "id": event.context.request_id}))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handle)).await
}
