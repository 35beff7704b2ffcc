import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.management.ManagementFactory;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A function that does what its event tells it. */
public class Told implements RequestHandler<Map<String, Object>, Object> {
    private int count = 0;

    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        String told = String.valueOf(event.get("do"));
        switch (told) {
            case "fail": throw new RuntimeException("Error: some_error_msg");
            case "exit": System.exit(((Number) event.get("code")).intValue());
            case "sleep": sleep(60000); return null;
            case "memory": {
                java.util.ArrayList<byte[]> all = new java.util.ArrayList<>();
                while (true) all.add(new byte[8 << 20]);
            }
            case "log":
                context.getLogger().log("two\nlines");
                System.out.println("printed");
                System.err.println("to standard error");
                return null;
            case "env": return System.getenv();
            case "count": return count++;
            case "flags": return ManagementFactory.getRuntimeMXBean().getInputArguments();
            case "version": return System.getProperty("java.version");
            case "shared": return ManagementFactory.getRuntimeMXBean().getClassPath();
            case "layer": return load("layered.Greeter");
            case "context": {
                Map<String, Object> found = new LinkedHashMap<>();
                found.put("id", context.getAwsRequestId());
                found.put("arn", context.getInvokedFunctionArn());
                found.put("name", context.getFunctionName());
                found.put("version", context.getFunctionVersion());
                found.put("group", context.getLogGroupName());
                found.put("memory", context.getMemoryLimitInMB());
                found.put("remaining", context.getRemainingTimeInMillis());
                found.put("directory", System.getProperty("user.dir"));
                return found;
            }
            default: return Map.of("got", event);
        }
    }

    public String other(List<String> words, Context context) {
        return String.join(" ", words);
    }

    public static Integer add(Map<String, Integer> numbers) {
        return numbers.values().stream().mapToInt(Integer::intValue).sum();
    }

    private static String load(String name) {
        try {
            return Class.forName(name).getDeclaredConstructor().newInstance().toString();
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    public static class Stream implements RequestStreamHandler {
        @Override
        public void handleRequest(InputStream input, OutputStream output, Context context) throws IOException {
            output.write("{\"stream\":".getBytes());
            output.write(input.readAllBytes());
            output.write("}".getBytes());
        }
    }

    public static class Broken implements RequestHandler<Object, Object> {
        public Broken() {
            throw new IllegalStateException("not today");
        }

        @Override
        public Object handleRequest(Object event, Context context) {
            return null;
        }
    }
}
