package lenet;

import com.intel.analytics.bigdl.dllib.nn.abstractnn.Activity;
import com.intel.analytics.bigdl.dllib.nn.abstractnn.TensorCriterion;
import com.intel.analytics.bigdl.dllib.tensor.Tensor;
import com.intel.analytics.bigdl.dllib.tensor.TensorNumericMath.TensorNumeric;
import scala.reflect.ClassTag;

/**
 * BigDL's ClassNLLCriterion for logarithms of probabilities: the mean of a batch, classes from 1.
 *
 * <p>BigDL's hands every single record to a pool of threads, which takes longer than the loss.
 */
public class LogLoss extends TensorCriterion {
    /**
     * @param tag of floats
     * @param floats BigDL's arithmetic of floats
     */
    public LogLoss(ClassTag tag, TensorNumeric floats) {
        super(tag, floats);
    }

    @Override
    public Object updateOutput(Activity input, Activity target) {
        Floats scores = new Floats(input);
        Floats classes = new Floats(target);
        int count = scores.rows();
        double sum = 0;
        for (int row = 0; row < count; row++) {
            sum -= scores.array[scores.offset + index(scores, classes, row)];
        }
        return (float) (sum / count);
    }

    @Override
    public Activity updateGradInput(Activity input, Activity target) {
        Floats scores = new Floats(input);
        Floats classes = new Floats(target);
        int count = scores.rows();
        Tensor result = (Tensor) gradInput();
        result.resizeAs((Tensor) input);
        result.zero();
        Floats gradient = new Floats(result);
        for (int row = 0; row < count; row++) {
            gradient.array[gradient.offset + index(scores, classes, row)] = -1f / count;
        }
        return result;
    }

    private static int index(Floats scores, Floats classes, int row) {
        int columns = scores.length / scores.rows();
        int answer = (int) classes.array[classes.offset + row];
        if (answer < 1 || answer > columns) {
            throw new IllegalArgumentException("class " + answer + " is not within 1 to " + columns);
        }
        return row * columns + answer - 1;
    }
}
