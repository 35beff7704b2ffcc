// A function on AWS's own Go library, as `provided.al2023` runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Text string `json:"text"`
}

func handle(ctx context.Context, e event) (any, error) {
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
		found := map[string]string{}
		for _, pair := range os.Environ() {
			for i := range pair {
				if pair[i] == '=' {
					found[pair[:i]] = pair[i+1:]
					break
				}
			}
		}
		return found, nil
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

func main() { lambda.Start(handle) }
