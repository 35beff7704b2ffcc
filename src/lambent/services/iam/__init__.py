"""Identity and Access Management: policy documents, the evaluator that decides, and the operations around them."""
