import com.marcnuri.helm.Helm;
import com.marcnuri.helm.LintResult;
import com.marcnuri.helm.TemplateCommand;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Helm itself, as a library that Maven Central has built; there is no package of the command where the tests install from.
 *
 * <pre>java -cp 'libs/*' RenderChart.java CHART VALUES TARGET    lints CHART, renders it with VALUES into the file TARGET</pre>
 */
public class RenderChart {
    /** What the chart is told that it is installed on. */
    private static final String KUBERNETES = "1.34.0";

    public static void main(String[] arguments) throws Exception {
        Path chart = Path.of(arguments[0]);
        Path values = Path.of(arguments[1]);
        LintResult lint = new Helm(chart).lint().call();
        for (String message : lint.getMessages()) {
            System.err.println(message);
        }
        try {
            TemplateCommand template = new Helm(chart).template().withKubeVersion(KUBERNETES);
            String rendered = template.withName("shop").withNamespace("legacy").withValuesFile(values).call();
            Files.writeString(Path.of(arguments[2]), rendered);
        } catch (IllegalStateException refusal) {
            System.err.println(refusal.getMessage());
            System.exit(1);
        }
    }
}
