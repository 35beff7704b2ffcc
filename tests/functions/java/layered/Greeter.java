package layered;

/** Comes in a jar: of a layer, or of the package's lib directory. */
public class Greeter {
    @Override
    public String toString() {
        return "hello from a jar";
    }
}
