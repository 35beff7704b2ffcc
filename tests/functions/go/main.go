// A function on AWS's own Go library, as `provided.al2023` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
	Fail string `json:"error_msg"`
}

func handle(ctx context.Context, e event) (any, error) {
	if e.Fail != "" {
		return nil, errors.New("Error: " + e.Fail)
	}
	switch e.Do {
	case "fail":
		return nil, errors.New("Error: some_error_msg")
	case "panic":
		panic("went wrong")
	case "exit":
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Minute)
	case "print":
		fmt.Println("to standard output")
		fmt.Fprintln(os.Stderr, "to standard error")
	case "environment":
		return environment(), nil
	case "introspection":
		c, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		found := map[string]any{
			"aws_request_id": c.AwsRequestID, "invoked_function_arn": c.InvokedFunctionArn, "deadline": deadline.UnixMilli(),
			"function_name": lambdacontext.FunctionName, "function_version": lambdacontext.FunctionVersion,
			"log_group_name": lambdacontext.LogGroupName, "log_stream_name": lambdacontext.LogStreamName,
			"memory_limit_in_mb": lambdacontext.MemoryLimitInMB,
		}
		return map[string]any{"ctx": found, "environment": environment(), "packages": []string{}}, nil
	case "context":
		c, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		directory, _ := os.Getwd()
		return map[string]any{
			"id": c.AwsRequestID, "arn": c.InvokedFunctionArn, "remaining": time.Until(deadline).Milliseconds(),
			"arguments": os.Args, "directory": directory, "name": lambdacontext.FunctionName,
		}, nil
	}
	return map[string]string{"got": e.Text}, nil
}

func environment() map[string]string {
	found := map[string]string{}
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		found[name] = value
	}
	return found
}

func main() { lambda.Start(handle) }
