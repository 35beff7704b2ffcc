package echo;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What the functions of the recorded cases do. */
public class Handler implements RequestHandler<Map<String, Object>, Object> {
    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        if (event.containsKey("error_msg")) throw new RuntimeException("Error: " + event.get("error_msg"));
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("aws_request_id", context.getAwsRequestId());
        found.put("function_name", context.getFunctionName());
        found.put("function_version", context.getFunctionVersion());
        found.put("invoked_function_arn", context.getInvokedFunctionArn());
        found.put("log_group_name", context.getLogGroupName());
        found.put("log_stream_name", context.getLogStreamName());
        found.put("memory_limit_in_mb", String.valueOf(context.getMemoryLimitInMB()));
        found.put("remaining_time_in_millis", context.getRemainingTimeInMillis());
        return Map.of("ctx", found, "environment", System.getenv(), "packages", List.of());
    }

    /** Both an interface of AWS's and a method of its own. */
    public static class Both implements RequestHandler<Map<String, Object>, String> {
        @Override
        public String handleRequest(Map<String, Object> event, Context context) {
            return "INTERFACE";
        }

        public String handleRequestCustom(Map<String, Object> event, Context context) {
            return "CUSTOM";
        }
    }

    public static class Input {
        private String bucket;
        private String key;
        private boolean validated;

        public String getBucket() { return bucket; }
        public void setBucket(String bucket) { this.bucket = bucket; }
        public String getKey() { return key; }
        public void setKey(String key) { this.key = key; }
        public boolean isValidated() { return validated; }
        public void setValidated(boolean validated) { this.validated = validated; }
    }

    /** An object goes in and comes out. */
    public static class Objects implements RequestHandler<Input, Input> {
        @Override
        public Input handleRequest(Input input, Context context) {
            input.setValidated(true);
            return input;
        }
    }

    public static class Streams implements RequestStreamHandler {
        @Override
        public void handleRequest(InputStream input, OutputStream output, Context context) throws IOException {
            output.write(input.readAllBytes());
        }
    }

    /** Needs a class of a jar in the package's lib directory. */
    public static class Needy implements RequestHandler<Map<String, Object>, String> {
        @Override
        public String handleRequest(Map<String, Object> event, Context context) {
            try {
                Class.forName("layered.Greeter").getDeclaredConstructor().newInstance();
            } catch (ReflectiveOperationException error) {
                throw new IllegalStateException(error);
            }
            return "{\"echo\":\"" + event.get("echo") + "\"}";
        }
    }
}
